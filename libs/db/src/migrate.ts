import { sql } from 'kysely';
import { Migrator } from 'kysely/migration';
import { connect, SCHEMA } from './connect';
import { migrations } from './migrations';

// Any fixed number will do; it only has to differ from the lock of the Migrator itself.
const SCHEMA_LOCK = 4_731_906;

/**
 * Brings a database to the newest schema. Safe to call from several processes at once: one migrates, the others wait and find
 * nothing left to do. Each run also makes sure that the event log has partitions for the next 23 months.
 *
 * @param ownerUrl connection of the role that owns the schema (never the service role)
 * @returns names of the migrations this call ran, in order
 * @throws the error of the migration that failed; its transaction is rolled back
 */
export async function migrateToLatest(ownerUrl: string): Promise<string[]> {
  // One connection holds the lock, the other one is the Migrator's.
  const db = connect(ownerUrl, { poolSize: 2 });
  try {
    return await db.connection().execute(async (lock) => {
      // "create schema if not exists" fails when two sessions run it at the same moment, and the Migrator does it before it locks.
      await sql`select pg_advisory_lock(${SCHEMA_LOCK})`.execute(lock);
      try {
        await sql`create schema if not exists ${sql.id(SCHEMA)}`.execute(lock);
        const migrator = new Migrator({
          db,
          provider: { getMigrations: () => Promise.resolve({ ...migrations }) },
          migrationTableSchema: SCHEMA,
        });
        const { error, results = [] } = await migrator.migrateToLatest();
        const failed = results.find((result) => result.status === 'Error');
        if (error !== undefined) {
          throw new Error(
            `migrate to the newest schema: ${failed?.migrationName ?? 'no migration'} failed: ${error instanceof Error ? error.message : 'unknown error'}`,
            {
              cause: error,
            },
          );
        }
        await sql`select ensure_event_partitions(now())`.execute(lock);
        return results.map((result) => result.migrationName);
      } finally {
        await sql`select pg_advisory_unlock(${SCHEMA_LOCK})`.execute(lock);
      }
    });
  } finally {
    await db.destroy();
  }
}
