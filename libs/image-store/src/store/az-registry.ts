import { randomUUID } from 'node:crypto';
import { type Database, inTransaction } from '@ims/db';
import type { Kysely } from 'kysely';
import type { AzStore } from '../placement/az-store.port';

/**
 * Ties an AZ to this installation: its identity is in the database and in the AZ itself, and nothing is read or written before both agree.
 * The row comes first, so a crash in between leaves an AZ that may still be set up; once set up, one without identity is refused.
 */
export async function enrolAz(db: Kysely<Database>, az: AzStore): Promise<void> {
  const { name } = az.descriptor;
  await db
    .insertInto('store_az')
    .values({ name, id: randomUUID() })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  await inTransaction(db, async (trx) => {
    // Locked: of two processes that start at the same time one sets the AZ up and the other finds it done.
    const row = await trx
      .selectFrom('store_az')
      .select(['id', 'initialized'])
      .where('name', '=', name)
      .forUpdate()
      .executeTakeFirstOrThrow();
    if (row.initialized) return az.checkIdentity(row.id);
    await az.initialize(row.id);
    await trx.updateTable('store_az').set({ initialized: true }).where('name', '=', name).execute();
  });
}
