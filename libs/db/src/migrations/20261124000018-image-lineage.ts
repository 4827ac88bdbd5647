import { type Kysely, sql } from 'kysely';

/** What an image inherits from the one it was made from: columns of the projection `image`. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table image
      add column parent_id text,
      add column public_platform text,
      add column product_code text`.execute(db);
  await sql`create index image_parent on image (parent_id) where parent_id is not null`.execute(db);
}
