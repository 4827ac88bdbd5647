import { type Kysely, sql } from 'kysely';

/**
 * The order of the log that is shown outside: every committed event gets the next number of its project, once nothing can come before it any
 * more. Beside it the list of traces, which follows from the sealed events and can be dropped and made again.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table event_seal (
      project_id text not null,
      log_index bigint not null check (log_index >= 0),
      event_id uuid not null unique,
      recorded_at timestamptz(3) not null,
      stream_id text not null,
      type text not null,
      job_id text,
      image_id text,
      sealed_at timestamptz(3) not null,
      primary key (project_id, log_index)
    )`.execute(db);
  await sql`create index event_seal_stream on event_seal (project_id, stream_id, log_index)`.execute(db);
  await sql`create index event_seal_job on event_seal (project_id, job_id, log_index) where job_id is not null`.execute(
    db,
  );
  await sql`create index event_seal_image on event_seal (project_id, image_id, log_index) where image_id is not null`.execute(
    db,
  );
  await sql`create index event_seal_type on event_seal (project_id, type, log_index)`.execute(db);
  // Times of sealing grow with the index: a window of time is a window of indexes.
  await sql`create index event_seal_time on event_seal (project_id, sealed_at, log_index)`.execute(db);
  // The one row says up to where the log is sealed.
  await sql`
    create table seal_cursor (
      one boolean primary key default true check (one),
      transaction_id xid8 not null,
      global_position bigint not null
    )`.execute(db);
  await sql`insert into seal_cursor (transaction_id, global_position) values ('0', 0)`.execute(db);
  await sql`
    create table trace (
      project_id text not null,
      log_index bigint not null,
      trace_id uuid not null unique,
      is_step boolean not null,
      trace_name text not null,
      trace_rating text not null check (trace_rating in ('normal', 'warning', 'incident')),
      service_type text not null,
      resource_type text not null,
      resource_id text,
      resource_name text,
      user_name text,
      access_key_id text,
      enterprise_project_id text,
      document jsonb not null,
      primary key (project_id, log_index)
    )`.execute(db);
  await sql`create index trace_listed on trace (project_id, log_index) where not is_step`.execute(db);
  for (const column of ['trace_name', 'service_type', 'resource_type', 'trace_rating']) {
    await sql`create index ${sql.id(`trace_${column}`)} on trace (project_id, ${sql.id(column)}, log_index)`.execute(
      db,
    );
  }
  for (const column of ['resource_id', 'resource_name', 'user_name', 'access_key_id', 'enterprise_project_id']) {
    await sql`
      create index ${sql.id(`trace_${column}`)} on trace (project_id, ${sql.id(column)}, log_index)
      where ${sql.id(column)} is not null`.execute(db);
  }
  await sql`grant select, insert on event_seal, trace to ims_service`.execute(db);
  await sql`grant select, update on seal_cursor to ims_service`.execute(db);
}
