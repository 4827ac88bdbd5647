import { type Kysely, sql } from 'kysely';

/** The reconciler's question about digests: which images wait for one, and whether it was ordered. */
export async function up(db: Kysely<unknown>): Promise<void> {
  // Empty but for the images whose digest is being made.
  await sql`
    create index image_undigested on image (active_at)
    where status = 'active' and sha512 is null and deleted_at is null`.execute(db);
  await sql`create index outbox_workflow on outbox (workflow_id, id)`.execute(db);
}
