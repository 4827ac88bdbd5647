import { type Kysely, sql } from 'kysely';

/** Jobs can be paused, and tell how fast they are and how long they will take. */
export async function up(db: Kysely<unknown>): Promise<void> {
  // How often a job was paused numbers the events of it: each pause is a fact of its own.
  await sql`
    alter table job
      add column paused_at timestamptz(3),
      add column pauses integer not null default 0`.execute(db);
  await sql`
    alter table step_attempt
      drop constraint step_attempt_outcome_check,
      add constraint step_attempt_outcome_check check (outcome in ('completed', 'failed', 'cancelled', 'paused'))`.execute(
    db,
  );
  // Null while unknown. The share is kept beside the bytes: it never falls, also when a total turns out to be larger than was thought.
  await sql`
    alter table job_progress
      add column step_share double precision not null default 0,
      add column bytes_per_second double precision,
      add column measured_from timestamptz(3),
      add column measured_bytes bigint not null default 0,
      add column eta_at timestamptz(3)`.execute(db);
}
