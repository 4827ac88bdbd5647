import { type Kysely, sql } from 'kysely';

/** Bytes that arrive in pieces, and the state of an image whose bytes do. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table image drop constraint image_status_check`.execute(db);
  await sql`
    alter table image add constraint image_status_check
      check (status in ('queued', 'uploading', 'saving', 'active', 'killed', 'deleted'))`.execute(db);
  // `validator` names the version of what the bytes are fetched from, so that a later fetch goes on with the same.
  // `length_bytes` is what is durable, `held_bytes` what the project's quota of staged bytes is charged with: never less.
  await sql`
    create table staged_file (
      id text primary key,
      project_id text not null,
      image_id text,
      job_id text,
      sealed boolean not null default false,
      length_bytes bigint not null default 0,
      held_bytes bigint not null default 0,
      announced_bytes bigint,
      validator text,
      created_at timestamptz(3) not null,
      touched_at timestamptz(3) not null,
      check (length_bytes between 0 and held_bytes)
    )`.execute(db);
  await sql`create index staged_file_project on staged_file (project_id)`.execute(db);
  await sql`create index staged_file_job on staged_file (job_id) where job_id is not null`.execute(db);
  // The bytes of an image arrive by one way at a time.
  await sql`create unique index staged_file_image on staged_file (image_id) where job_id is null`.execute(db);
  await sql`grant select, insert, update, delete on staged_file to ims_service`.execute(db);
}
