import { type Kysely, sql } from 'kysely';

/**
 * Records of the embedded servers, disks and backups. A schema of their own: where the cloud already has these services, nothing here is
 * used. Ids are text because they come from callers: a malformed one is simply not found.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create schema cloud`.execute(db);
  // One file of disk content; what it does not hold is read from its base: another layer, or the disk of an image. A sealed one never
  // changes, so any number of disks, snapshots and backups may stand on it. It goes when nothing refers to it any more.
  await sql`
    create table cloud.disk_layer (
      id text primary key,
      size_bytes bigint not null,
      granule_bytes integer not null,
      base_layer_id text references cloud.disk_layer,
      base_image jsonb,
      sealed boolean not null default false,
      held_bytes bigint not null default 0,
      created_at timestamptz(3) not null,
      check (base_layer_id is null or base_image is null)
    )`.execute(db);
  await sql`create index disk_layer_base on cloud.disk_layer (base_layer_id)`.execute(db);
  await sql`
    create table cloud.server (
      id text primary key,
      project_id text not null,
      name text not null,
      kind text not null check (kind in ('ecs', 'bms')),
      status text not null,
      task_state text,
      task_holder text,
      res_status text not null default 'normal' check (res_status in ('normal', 'freeze')),
      is_being_reclaimed boolean not null,
      boot_from text not null check (boot_from in ('volume', 'local-disk')),
      flavor jsonb not null,
      image_id text,
      metadata jsonb not null,
      availability_zone text not null,
      request jsonb not null,
      created_at timestamptz(3) not null,
      deleted_at timestamptz(3)
    )`.execute(db);
  await sql`create index server_project on cloud.server (project_id, created_at)`.execute(db);
  await sql`
    create table cloud.volume (
      id text primary key,
      project_id text not null,
      name text not null,
      availability_zone text not null,
      is_failed boolean not null default false,
      size_gib integer not null,
      volume_type text not null,
      disk_use text not null check (disk_use in ('system', 'data')),
      bootable boolean not null,
      key_id text,
      shareable boolean not null,
      pool text not null check (pool in ('evs', 'dss', 'dess')),
      origin jsonb not null,
      layer_id text references cloud.disk_layer,
      request jsonb not null,
      created_at timestamptz(3) not null,
      deleted_at timestamptz(3)
    )`.execute(db);
  await sql`create index volume_project on cloud.volume (project_id, created_at)`.execute(db);
  await sql`create index volume_layer on cloud.volume (layer_id)`.execute(db);
  await sql`
    create table cloud.volume_attachment (
      volume_id text not null references cloud.volume,
      server_id text not null references cloud.server,
      device text not null,
      boot_index integer,
      delete_on_termination boolean not null,
      primary key (volume_id, server_id),
      unique (server_id, device)
    )`.execute(db);
  // A server has one system disk.
  await sql`create unique index volume_attachment_root on cloud.volume_attachment (server_id) where boot_index = 0`.execute(
    db,
  );
  await sql`
    create table cloud.snapshot (
      id text primary key,
      project_id text not null,
      volume_id text not null references cloud.volume,
      server_id text,
      size_gib integer not null,
      bootable boolean not null,
      key_id text,
      layer_id text not null references cloud.disk_layer,
      quiesced_by text not null check (quiesced_by in ('no-writer', 'writes-held', 'guest-paused')),
      created_at timestamptz(3) not null
    )`.execute(db);
  await sql`create index snapshot_layer on cloud.snapshot (layer_id)`.execute(db);
  await sql`create index snapshot_volume on cloud.snapshot (volume_id)`.execute(db);
  await sql`
    create table cloud.vault (
      id text primary key,
      project_id text not null,
      name text not null,
      object_type text not null check (object_type in ('server', 'disk', 'turbo')),
      protect_type text not null check (protect_type in ('backup', 'replication')),
      status text not null check (status in ('available', 'lock', 'frozen', 'deleting', 'error')),
      size_gib integer not null,
      member_limit integer not null,
      request jsonb not null,
      created_at timestamptz(3) not null
    )`.execute(db);
  await sql`create index vault_project on cloud.vault (project_id, created_at)`.execute(db);
  // The key says it: a server belongs to one vault at most (IMG.0183).
  await sql`
    create table cloud.vault_server (
      server_id text primary key references cloud.server,
      vault_id text not null references cloud.vault
    )`.execute(db);
  await sql`create index vault_server_vault on cloud.vault_server (vault_id)`.execute(db);
  await sql`
    create table cloud.checkpoint (
      id text primary key,
      project_id text not null,
      line text not null check (line in ('CBR', 'CSBS')),
      vault_id text references cloud.vault,
      server_id text not null references cloud.server,
      status text not null check (status in ('protecting', 'available', 'error', 'deleted')),
      backup_id text not null,
      quiesced_by text not null check (quiesced_by in ('no-writer', 'writes-held', 'guest-paused')),
      bytes_stored bigint not null default 0,
      bytes_read bigint not null default 0,
      request jsonb not null,
      created_at timestamptz(3) not null
    )`.execute(db);
  await sql`
    create table cloud.backup (
      id text primary key,
      project_id text not null,
      line text not null check (line in ('CBR', 'CSBS')),
      name text not null,
      checkpoint_id text not null references cloud.checkpoint,
      vault_id text references cloud.vault,
      server_id text not null,
      server_name text not null,
      availability_zone text not null,
      status text not null check (status in ('available', 'protecting', 'deleting', 'restoring', 'error', 'waiting_protect',
        'waiting_delete', 'waiting_restore')),
      image_id text,
      shared_from_project_id text,
      created_at timestamptz(3) not null
    )`.execute(db);
  await sql`create index backup_project on cloud.backup (project_id, created_at)`.execute(db);
  // `source_layer_id` names the layer this was copied from. No foreign key: it only serves while that layer happens to exist.
  await sql`
    create table cloud.disk_backup (
      id text primary key,
      backup_id text not null references cloud.backup on delete cascade,
      volume_id text not null,
      size_gib integer not null,
      device text not null,
      is_system_disk boolean not null,
      bootable boolean not null,
      key_id text,
      is_incremental boolean not null,
      stored_bytes bigint not null,
      layer_id text not null references cloud.disk_layer,
      source_layer_id text not null
    )`.execute(db);
  await sql`create index disk_backup_backup on cloud.disk_backup (backup_id)`.execute(db);
  await sql`create index disk_backup_layer on cloud.disk_backup (layer_id)`.execute(db);
  await sql`create index disk_backup_volume on cloud.disk_backup (volume_id)`.execute(db);
  await sql`grant usage on schema cloud to ims_service`.execute(db);
  await sql`grant select, insert, update, delete on all tables in schema cloud to ims_service`.execute(db);
}
