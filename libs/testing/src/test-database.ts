import { connect, type Database } from '@ims/db';
import { cloneDatabase, databaseUrl, dropDatabase } from '@ims/embedded';
import type { Kysely } from 'kysely';
import { randomBytes } from 'node:crypto';
import { askForServer } from './test-server-protocol';

export interface TestDatabase {
  /** Connected as the service role, as gateways and workers are. */
  db: Kysely<Database>;
  /** Connection string of the service role. */
  url: string;
  /** Connection string of the owner of the tables. */
  ownerUrl: string;
  /** Connection string of a superuser, for what only a fault or an attacker would do. */
  adminUrl: string;
  /** Closes the pool and removes the database, also under connections that are still open. */
  drop(): Promise<void>;
}

/**
 * A fresh, migrated, empty database for one test file. Takes a few tens of milliseconds; the first call of a run starts Postgres.
 *
 * @example
 * let database: TestDatabase;
 * beforeAll(async () => { database = await testDatabase(); });
 * afterAll(() => database.drop());
 */
export async function testDatabase(options: { poolSize?: number } = {}): Promise<TestDatabase> {
  const { adminUrl, template, ownerPassword, servicePassword } = await askForServer('postgres');
  const name = `test_${randomBytes(8).toString('hex')}`;
  await cloneDatabase(adminUrl, template, name);
  const url = databaseUrl(adminUrl, name, 'ims_app', servicePassword);
  const db = connect(url, { poolSize: options.poolSize ?? 10 });
  return {
    db,
    url,
    ownerUrl: databaseUrl(adminUrl, name, 'ims_owner', ownerPassword),
    adminUrl: databaseUrl(adminUrl, name),
    drop: async () => {
      await db.destroy();
      await dropDatabase(adminUrl, name);
    },
  };
}
