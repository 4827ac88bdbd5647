import { type Kysely, sql } from 'kysely';

/**
 * A job that sends an image to this region may be run by a second execution while a worker of the first one only stands still. What each receive is
 * called back by, or was told of, is remembered with the newest execution that has spoken.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table refused_receive rename to receive_fence`.execute(db);
  await sql`alter table receive_fence rename constraint refused_receive_pkey to receive_fence_pkey`.execute(db);
  await sql`alter table receive_fence rename column refused_at to called_back_at`.execute(db);
  await sql`alter table receive_fence alter column called_back_at drop not null`.execute(db);
  await sql`alter table receive_fence alter column called_back_at drop default`.execute(db);
  // What was called back until now was by no execution that is known: any may speak of it.
  await sql`alter table receive_fence add column epoch integer not null default 0`.execute(db);
  await sql`alter table receive_fence alter column epoch drop default`.execute(db);
}
