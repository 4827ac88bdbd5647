import { type Kysely, sql } from 'kysely';

/** Which entry of the catalogue a public image is, and since when it is offered no more: columns of the projection `image`. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table image
      add column catalogue_key text,
      add column catalogue jsonb,
      add column retired_at timestamptz`.execute(db);
  await sql`create index image_catalogue on image (catalogue_key) where catalogue_key is not null`.execute(db);
}
