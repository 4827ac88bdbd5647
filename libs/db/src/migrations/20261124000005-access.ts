import { type Kysely, sql } from 'kysely';

/** Who may call. Secrets live here and never in events. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`create table account (id text primary key, name text not null unique, enabled boolean not null default true)`.execute(
    db,
  );
  await sql`
    create table project (
      id text primary key,
      account_id text not null references account,
      name text not null,
      description text not null default '',
      enabled boolean not null default true,
      unique (account_id, name)
    )`.execute(db);
  await sql`
    create table iam_user (
      id text primary key,
      account_id text not null references account,
      name text not null,
      password_hash text,
      enabled boolean not null default true,
      authz_epoch integer not null default 1,
      permissions text[] not null,
      unique (account_id, name)
    )`.execute(db);
  await sql`
    create table access_key (
      access text primary key,
      user_id text not null references iam_user,
      secret_sealed bytea not null,
      status text not null default 'active' check (status in ('active', 'inactive')),
      security_token_hash bytea,
      expires_at timestamptz(3),
      created_at timestamptz(3) not null default now()
    )`.execute(db);
  await sql`
    create table token (
      hash bytea primary key,
      user_id text not null references iam_user,
      project_id text,
      account_id text not null,
      methods text[] not null,
      authz_epoch integer not null,
      issued_at timestamptz(6) not null,
      expires_at timestamptz(6) not null,
      revoked_at timestamptz(3)
    )`.execute(db);
}
