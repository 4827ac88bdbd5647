import { type Kysely, sql } from 'kysely';

/** What is decided about an image over its life: columns of the projection `image`. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table image
      drop constraint image_status_check,
      add constraint image_status_check
        check (status in ('queued', 'uploading', 'saving', 'active', 'deactivated', 'killed', 'deleted')),
      add column binned_at timestamptz(3),
      add column purge_after timestamptz(3),
      add column purges_backup boolean not null default false,
      add column held_at timestamptz(3),
      add column hold_reason text,
      add column held_by text,
      add column deprecated_at timestamptz(3),
      add column replacement_id text,
      add column revoked_at timestamptz(3),
      add column revoke_reason text`.execute(db);
  await sql`
    create index image_bin on image (project_id, binned_at desc, id desc)
      where binned_at is not null and deleted_at is null`.execute(db);
  await sql`
    create index image_purge on image (purge_after) where binned_at is not null and deleted_at is null`.execute(db);
}
