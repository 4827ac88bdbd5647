import { type Kysely, sql } from 'kysely';

/** A job may bring several disks into the store: what it holds is told apart by the part of the image that each disk becomes. */
export async function up(db: Kysely<unknown>): Promise<void> {
  // What is held already belongs to jobs of one disk, which is the content of their image.
  await sql`
    alter table segment_hold
      add column part text not null default 'content',
      drop constraint segment_hold_pkey,
      add primary key (job_id, part, segment_index)`.execute(db);
  // Two disks of one job may be equal, blank ones say: their one manifest is held once for each.
  await sql`
    alter table manifest_hold
      add column part text not null default 'content',
      drop constraint manifest_hold_pkey,
      add primary key (job_id, part, domain_id, hash)`.execute(db);
}
