import { type Kysely, sql } from 'kysely';

/** Objects that exports are making: which upload, and for each durable part how whoever goes on makes the next one. */
export async function up(db: Kysely<unknown>): Promise<void> {
  // `foreign_uploads` are those that were under way before ours: what is found beside them, after an answer was lost, is ours.
  await sql`
    create table export_upload (
      job_id text primary key,
      bucket text not null,
      object_key text not null,
      upload_id text,
      part_bytes bigint not null,
      foreign_uploads jsonb not null default '[]',
      sha256 text,
      -- Two exports never make one object.
      unique (bucket, object_key)
    )`.execute(db);
  await sql`
    create table export_part (
      job_id text not null references export_upload (job_id) on delete cascade,
      part integer not null,
      size_bytes bigint not null,
      md5 text not null,
      etag text not null,
      mark jsonb not null,
      primary key (job_id, part)
    )`.execute(db);
  await sql`grant select, insert, update, delete on export_upload, export_part to ims_service`.execute(db);
}
