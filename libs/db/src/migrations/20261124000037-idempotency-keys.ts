import { type Kysely, sql } from 'kysely';

/** Keys that callers gave to calls which must not be done twice, with the answers they got. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table idempotency_key (
      project_id text not null,
      operation text not null,
      key text not null,
      fingerprint text not null,
      claim_id uuid not null,
      claimed_at timestamptz(3) not null,
      is_recorded boolean not null,
      effect_at timestamptz(3),
      status integer,
      headers jsonb,
      body text,
      primary key (project_id, operation, key)
    )`.execute(db);
  await sql`create index idempotency_key_claimed on idempotency_key (claimed_at)`.execute(db);
  await sql`grant select, insert, update, delete on idempotency_key to ims_service`.execute(db);
}
