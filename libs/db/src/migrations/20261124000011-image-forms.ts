import { type Kysely, sql } from 'kysely';

/**
 * Images that are files, images of several disks, and jobs of several jobs. All projections of the event log: see projections/.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  // `disk`: a download is assembled from the stored disk. `file`: the stored bytes are the file itself, in its declared format.
  await sql`alter table image add column form text not null default 'disk' check (form in ('disk', 'file'))`.execute(
    db,
  );
  // What an image has stored beside its content: the disk inside its file (`disk`), further disks of a whole server (`data:<device>`).
  await sql`
    create table image_part (
      image_id text not null,
      part text not null,
      domain_id uuid not null,
      manifest_hash text not null,
      content_root text not null,
      virtual_size_bytes bigint not null,
      stored_bytes bigint not null,
      primary key (image_id, part)
    )`.execute(db);
  await sql`create index image_part_manifest on image_part (domain_id, manifest_hash)`.execute(db);
  await sql`alter table job add column parent_id text`.execute(db);
  await sql`create index job_parent on job (parent_id) where parent_id is not null`.execute(db);
  await sql`grant select, insert, update, delete on image_part to ims_service`.execute(db);
}
