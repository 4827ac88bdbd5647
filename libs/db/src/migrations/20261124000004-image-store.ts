import { type Kysely, sql } from 'kysely';

/**
 * Where bytes lie. No projection of events: packs may be rewritten or moved without touching a manifest, and the
 * segment index can be rebuilt from pack footers.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  // One dedup domain per project (plain) or per project and key (encrypted); `secret` keys the names of its segments.
  await sql`
    create table dedup_domain (
      id uuid primary key,
      project_id text not null,
      key_id text,
      secret bytea not null,
      unique nulls not distinct (project_id, key_id)
    )`.execute(db);
  // Which directory or bucket is which AZ of this installation. `initialized` is set once the identity object lies there: from then on an AZ
  // without it (an unmounted disk, say) is refused instead of filled again.
  await sql`
    create table store_az (
      name text primary key,
      id uuid not null,
      initialized boolean not null default false
    )`.execute(db);
  // The row exists before the first byte of its pack does, so no crash leaves a pack that nobody knows of. A retired pack holds nothing live
  // any more and is kept for a grace, because readers may still have its place in hand.
  await sql`
    create table pack (
      id text primary key,
      domain_id uuid not null references dedup_domain,
      job_id text,
      state text not null check (state in ('open', 'sealed', 'retired')),
      size_bytes bigint,
      live_bytes bigint not null default 0,
      created_at timestamptz(3) not null default now(),
      sealed_at timestamptz(3),
      retired_at timestamptz(3)
    )`.execute(db);
  await sql`create index pack_open on pack (job_id) where state = 'open'`.execute(db);
  // The collector's two questions: which packs are mostly dead, which have outlived their grace.
  await sql`create index pack_sparse on pack ((live_bytes::double precision / size_bytes)) where state = 'sealed'`.execute(
    db,
  );
  await sql`create index pack_retired on pack (retired_at) where state = 'retired'`.execute(db);
  await sql`
    create table segment (
      domain_id uuid not null,
      key bytea not null,
      pack_id text not null references pack,
      pack_offset bigint not null,
      frame_lengths integer[] not null,
      frame_checksums bigint[] not null,
      stored_bytes integer not null,
      primary key (domain_id, key)
    )`.execute(db);
  await sql`create index segment_pack on segment (pack_id)`.execute(db);
  // A hold keeps a segment from the collector while its job runs, and is the resume position of the job's ingest.
  await sql`
    create table segment_hold (
      job_id text not null,
      segment_index integer not null,
      domain_id uuid not null,
      key bytea not null,
      root bytea not null,
      primary key (job_id, segment_index)
    )`.execute(db);
  await sql`create index segment_hold_key on segment_hold (domain_id, key)`.execute(db);
  await sql`
    create table manifest (
      domain_id uuid not null,
      hash text not null,
      virtual_size_bytes bigint not null,
      segment_count integer not null,
      published boolean not null default false,
      released_at timestamptz(3),
      primary key (domain_id, hash)
    )`.execute(db);
  await sql`create index manifest_unpublished on manifest (released_at) where not published`.execute(db);
  // Keeps the manifest object of a running job from the collector, as segment_hold does for segments.
  await sql`
    create table manifest_hold (
      job_id text not null,
      domain_id uuid not null,
      hash text not null,
      primary key (job_id, domain_id, hash),
      foreign key (domain_id, hash) references manifest
    )`.execute(db);
  await sql`create index manifest_hold_manifest on manifest_hold (domain_id, hash)`.execute(db);
  await sql`
    create table manifest_segment (
      domain_id uuid not null,
      manifest_hash text not null,
      key bytea not null,
      primary key (domain_id, manifest_hash, key)
    )`.execute(db);
  await sql`create index manifest_segment_key on manifest_segment (domain_id, key)`.execute(db);
}
