import { type Kysely, sql } from 'kysely';

/** Beside the log, and not rebuilt from it: what is still to be sent, how far a step has come, and every attempt. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table outbox (
      id bigint generated always as identity primary key,
      workflow_type text not null,
      workflow_id text not null,
      task_queue text not null,
      input jsonb not null,
      summary text not null,
      -- A restart by the reconciler may reuse the id of a closed execution; a first start may not.
      allow_duplicate boolean not null default false,
      created_at timestamptz(3) not null default now(),
      sent_at timestamptz(3)
    )`.execute(db);
  await sql`create index outbox_unsent on outbox (id) where sent_at is null`.execute(db);
  await sql`
    create table job_progress (
      job_id text primary key,
      step text not null,
      bytes_done bigint not null,
      bytes_total bigint not null,
      updated_at timestamptz(3) not null
    )`.execute(db);
  await sql`
    create table step_attempt (
      id bigint generated always as identity primary key,
      job_id text not null,
      step text not null,
      attempt integer not null,
      run_id text,
      worker text not null,
      started_at timestamptz(3) not null,
      ended_at timestamptz(3),
      outcome text check (outcome in ('completed', 'failed', 'cancelled')),
      error text,
      detail jsonb
    )`.execute(db);
  await sql`create index step_attempt_job on step_attempt (job_id, id)`.execute(db);
}
