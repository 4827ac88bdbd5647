import { type Kysely, sql } from 'kysely';

/** How far an image has come on its way to the marketplace: a column of the projection `image`. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table image add column listing jsonb`.execute(db);
  // Whoever runs the market asks for those that wait; a provider for its own.
  await sql`
    create index image_listing on image ((listing ->> 'status'), id)
      where listing is not null and deleted_at is null`.execute(db);
  // One code is one provider's (IMG.0045).
  await sql`create index image_product on image ((listing ->> 'productCode')) where listing is not null`.execute(db);
}
