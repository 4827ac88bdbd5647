import { type Kysely, sql } from 'kysely';

/**
 * The role gateways and workers connect as. Append-only is a permission, not a habit: it can add events, never change or remove one.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  // A role belongs to the whole server, so two databases migrated at the same moment both try to make it. An owner who may not
  // make roles (the usual case) finds it made by whoever set up the server.
  await sql`
    do $$ begin
      if not exists (select from pg_roles where rolname = 'ims_service') then create role ims_service nologin; end if;
    exception when duplicate_object or unique_violation then null;
    end $$`.execute(db);
  await sql`grant usage on schema ims to ims_service`.execute(db);
  await sql`grant usage on sequence event_global_position to ims_service`.execute(db);
  await sql`grant select, insert on event, event_key to ims_service`.execute(db);
  await sql`grant select, insert, update on stream_head to ims_service`.execute(db);
  await sql`
    grant select, insert, update, delete on job, job_step, image, quota, usage_record, outbox, job_progress, step_attempt,
      dedup_domain, store_az, pack, segment, segment_hold, manifest, manifest_hold, manifest_segment,
      account, project, iam_user, access_key, token to ims_service`.execute(db);
}
