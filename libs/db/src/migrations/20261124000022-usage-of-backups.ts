import { type Kysely, sql } from 'kysely';

/** What is charged by a backup or by a product code, and how a project's usage is read page by page. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table usage_record
      alter column image_id drop not null,
      add column backup_id text,
      add column product_code text`.execute(db);
  // A backup is charged once at any time, by its checkpoint or by the image made from it, whichever came first.
  await sql`
    create unique index usage_record_backup on usage_record (backup_id)
    where backup_id is not null and closed_at is null and voided_at is null`.execute(db);
  await sql`create index usage_record_project on usage_record (project_id, opened_at, id)`.execute(db);
}
