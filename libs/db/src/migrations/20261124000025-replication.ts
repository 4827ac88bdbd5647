import { type Kysely, sql } from 'kysely';

/** Images that come from other regions. */
export async function up(db: Kysely<unknown>): Promise<void> {
  // What it took to bring a held segment from another region. It belongs to the hold because the hold is what a new attempt goes on from: the sum
  // over a job's holds is the same however often the link broke.
  await sql`alter table segment_hold add column wire_bytes integer not null default 0`.execute(db);
  // Replications that were called back before they had arrived here: a request that was on its way all the time must not begin one afterwards.
  await sql`
    create table refused_receive (
      job_id text primary key,
      source_region text not null,
      refused_at timestamptz(3) not null default now()
    )`.execute(db);
  await sql`grant select, insert, update, delete on refused_receive to ims_service`.execute(db);
}
