import { type Kysely, sql } from 'kysely';

/** `os_hidden` of an image: it is there for who knows its id, and in no list that does not ask for such images. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table image add column hidden boolean not null default false`.execute(db);
}
