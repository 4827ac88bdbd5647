import { type Kysely, sql } from 'kysely';

/** Backups of servers disk by disk: what the moment consists of, what each disk's copy took, and how far a copy under way has come. */
export async function up(db: Kysely<unknown>): Promise<void> {
  // Empty for checkpoints from before: theirs are complete, or taken up again with the disks that the server has then.
  await sql`alter table cloud.checkpoint add column disks jsonb not null default '[]'`.execute(db);
  await sql`alter table cloud.disk_backup add column bytes_read bigint not null default 0`.execute(db);
  // The layer it writes is in no other table until the copy is complete. `reserved_bytes` is what it may still take in its vault at most, where that is
  // known, and what it has taken where it is not.
  await sql`
    create table cloud.disk_copy (
      id text primary key,
      checkpoint_id text not null references cloud.checkpoint,
      layer_id text not null,
      size_bytes bigint not null,
      parent_layer_id text,
      position_bytes bigint not null default 0,
      bytes_read bigint not null default 0,
      reserved_bytes bigint not null
    )`.execute(db);
  await sql`create index disk_copy_checkpoint on cloud.disk_copy (checkpoint_id)`.execute(db);
  await sql`grant select, insert, update, delete on cloud.disk_copy to ims_service`.execute(db);
}
