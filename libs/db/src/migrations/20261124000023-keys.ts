import { type Kysely, sql } from 'kysely';

/** Keys of users, and what an encrypted dedup domain keeps of its data key. */
export async function up(db: Kysely<unknown>): Promise<void> {
  // The row goes when its time has come, and the material with it: whatever it wrapped is lost for good.
  await sql`
    create table kms_key (
      id uuid primary key,
      project_id text not null,
      account_id text not null,
      alias text not null,
      description text not null,
      spec text not null,
      usage text not null,
      origin text not null,
      state text not null check (state in ('enabled', 'disabled', 'pending-deletion')),
      material_wrapped bytea not null,
      created_at timestamptz(3) not null,
      deletion_at timestamptz(3),
      enterprise_project_id text not null,
      unique (project_id, alias),
      check ((state = 'pending-deletion') = (deletion_at is not null))
    )`.execute(db);
  await sql`grant select, insert, update, delete on kms_key to ims_service`.execute(db);
  // `wrapped_key` is the data key as the key service hands it out for keeping; `key_commitment` tells whether what it gives back is that very key.
  await sql`
    alter table dedup_domain
      add column wrapped_key bytea,
      add column key_commitment bytea,
      add check ((key_id is null) = (wrapped_key is null) and (key_id is null) = (key_commitment is null))`.execute(db);
  // Nonces of the sealed frames of an encrypted domain, 12 bytes each; null in a plain one.
  await sql`alter table segment add column frame_nonces bytea`.execute(db);
}
