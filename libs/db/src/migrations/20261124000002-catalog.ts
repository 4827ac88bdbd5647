import { type Kysely, sql } from 'kysely';

/** Projections of the event log: every row here can be dropped and rebuilt from events (see projections/). */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table job (
      id text primary key,
      project_id text not null,
      type text not null,
      saga text not null,
      status text not null check (status in ('INIT', 'RUNNING', 'SUCCESS', 'FAIL')),
      outcome text check (outcome in ('succeeded', 'failed', 'cancelled')),
      image_id text,
      image_name text not null,
      request jsonb not null,
      steps text[] not null,
      current_step text,
      epoch integer not null default 1,
      cancel_reason text,
      error_code text,
      fail_reason text,
      begin_at timestamptz(3) not null,
      end_at timestamptz(3)
    )`.execute(db);
  await sql`create index job_project on job (project_id, begin_at desc, id)`.execute(db);
  await sql`create index job_open on job (begin_at) where outcome is null`.execute(db);
  await sql`
    create table job_step (
      job_id text not null,
      step text not null,
      state text not null check (state in ('completed', 'undone')),
      output jsonb,
      completed_at timestamptz(3),
      undone_at timestamptz(3),
      primary key (job_id, step)
    )`.execute(db);
  // What a tag filter may name: the tag itself, its key alone, and the older spelling key.value (ims-api 4.1, 20 row 8).
  await sql`
    create function image_tag_terms(tags text[]) returns text[] language sql immutable parallel safe as $$
      select coalesce(array_agg(distinct term), '{}')
      from unnest(tags) as tag,
        lateral unnest(case when position('=' in tag) > 0
          then array[tag, split_part(tag, '=', 1), regexp_replace(tag, '=', '.')] else array[tag] end) as term
    $$`.execute(db);
  await sql`
    create table image (
      id text primary key,
      project_id text not null,
      name text not null,
      status text not null check (status in ('queued', 'saving', 'active', 'killed', 'deleted')),
      image_type text not null default 'private',
      disk_format text not null,
      min_disk_gib integer not null,
      min_ram_mib integer not null,
      tags text[] not null,
      tag_terms text[] not null generated always as (image_tag_terms(tags)) stored,
      attributes jsonb not null,
      protected boolean not null default false,
      domain_id uuid,
      manifest_hash text,
      content_root text,
      virtual_size_bytes bigint,
      stored_bytes bigint,
      file_bytes bigint,
      md5 text,
      sha512 text,
      created_at timestamptz(3) not null,
      updated_at timestamptz(3) not null,
      active_at timestamptz(3),
      deleted_at timestamptz(3)
    )`.execute(db);
  await sql`create index image_page on image (project_id, created_at desc, id desc) where deleted_at is null`.execute(
    db,
  );
  await sql`create index image_name on image (project_id, name, id) where deleted_at is null`.execute(db);
  await sql`create index image_tags on image using gin (tag_terms) where deleted_at is null`.execute(db);
  await sql`create index image_attributes on image using gin (attributes jsonb_path_ops) where deleted_at is null`.execute(
    db,
  );
  await sql`create index image_manifest on image (domain_id, manifest_hash) where deleted_at is null`.execute(db);
  await sql`
    create table quota (
      project_id text not null,
      resource text not null,
      quota_limit integer,
      used integer not null default 0 check (used >= 0),
      reserved integer not null default 0 check (reserved >= 0),
      primary key (project_id, resource)
    )`.execute(db);
  await sql`
    create table usage_record (
      id text primary key,
      project_id text not null,
      image_id text not null,
      meter text not null,
      quantity_bytes bigint not null,
      opened_at timestamptz(3) not null,
      closed_at timestamptz(3),
      voided_at timestamptz(3)
    )`.execute(db);
  await sql`create index usage_record_image on usage_record (image_id)`.execute(db);
}
