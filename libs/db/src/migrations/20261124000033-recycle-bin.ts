import { type Kysely, sql } from 'kysely';

/** What projects have chosen about their recycle bins, and copies in other regions by what they are copies of. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create table recycle_bin (project_id text primary key, retention_days integer)`.execute(db);
  await sql`grant select, insert, update, delete on recycle_bin to ims_service`.execute(db);
  await sql`
    create index job_replicated on job ((request ->> 'source_image_id')) where saga = 'image-replicate'`.execute(db);
}
