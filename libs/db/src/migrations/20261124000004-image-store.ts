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
  // The row exists before the first byte of its pack does, so no crash leaves a pack that nobody knows of.
  await sql`
    create table pack (
      id text primary key,
      domain_id uuid not null references dedup_domain,
      job_id text,
      state text not null check (state in ('open', 'sealed')),
      size_bytes bigint,
      created_at timestamptz(3) not null default now(),
      sealed_at timestamptz(3)
    )`.execute(db);
  await sql`create index pack_open on pack (job_id) where state = 'open'`.execute(db);
  await sql`
    create table segment (
      domain_id uuid not null,
      key bytea not null,
      pack_id text not null references pack,
      pack_offset bigint not null,
      frame_lengths integer[] not null,
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
      primary key (domain_id, hash)
    )`.execute(db);
  await sql`
    create table manifest_segment (
      domain_id uuid not null,
      manifest_hash text not null,
      key bytea not null,
      primary key (domain_id, manifest_hash, key)
    )`.execute(db);
  await sql`create index manifest_segment_key on manifest_segment (domain_id, key)`.execute(db);
}
