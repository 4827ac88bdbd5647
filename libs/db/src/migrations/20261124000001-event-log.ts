import { type Kysely, sql } from 'kysely';

/**
 * The event log. The events table is partitioned by month, so uniqueness lives beside it in `event_key` and `stream_head`,
 * which are not partitioned and are written in the same transaction.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  // Drawn before the row is written, because the hashed leaf holds it.
  await sql`create sequence event_global_position`.execute(db);
  // transaction_id: the writer's own, or that of the last event of a stream it appends to when that is higher. A writer that waited
  // for a stream may have the older id; with this rule (transaction_id, global_position) never contradicts the order of a stream,
  // and an event still becomes visible no later than transactions with its id end.
  await sql`
    create table event (
      global_position bigint not null,
      event_id uuid not null,
      stream_id text not null,
      stream_position bigint not null,
      type text not null,
      schema_version integer not null,
      event_key text not null,
      occurred_at timestamptz(3) not null,
      recorded_at timestamptz(3) not null,
      transaction_id xid8 not null,
      actor jsonb not null,
      project_id text not null,
      job_id text,
      request_id text,
      workflow_id text,
      run_id text,
      step text,
      attempt integer,
      data jsonb not null,
      leaf bytea not null,
      prev_hash bytea not null,
      hash bytea not null,
      primary key (recorded_at, event_id)
    ) partition by range (recorded_at)`.execute(db);
  await sql`create table event_default partition of event default`.execute(db);
  await sql`create index event_stream on event (stream_id, stream_position)`.execute(db);
  await sql`create index event_order on event (transaction_id, global_position)`.execute(db);
  await sql`create index event_project on event (project_id, transaction_id, global_position)`.execute(db);
  // The service role may not create partitions: the migrator calls this, and the owner role once a month. The zone is fixed because
  // a bound without one would mean another moment in each session.
  await sql`
    create function ensure_event_partitions(since timestamptz, months integer default 24) returns void
    language plpgsql set timezone = 'UTC' as $$
    declare
      first date;
      name text;
    begin
      for ahead in 0 .. months - 1 loop
        first := (date_trunc('month', since) + make_interval(months => ahead))::date;
        name := 'event_' || to_char(first, 'YYYYMM');
        if to_regclass(name) is null then
          execute format('create table %I partition of event for values from (%L) to (%L)', name, first, (first + interval '1 month')::date);
        end if;
      end loop;
    end $$`.execute(db);
  await sql`
    create table event_key (
      stream_id text not null,
      event_key text not null,
      event_id uuid not null,
      recorded_at timestamptz(3) not null,
      content_hash bytea not null,
      primary key (stream_id, event_key)
    )`.execute(db);
  await sql`
    create table stream_head (
      stream_id text primary key,
      position bigint not null,
      hash bytea not null,
      transaction_id xid8 not null
    )`.execute(db);
}
