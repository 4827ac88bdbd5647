import { Client } from 'pg';

export interface DatabaseOptions {
  /** Superuser connection, as `startPostgres` returns it. */
  adminUrl: string;
  database: string;
  ownerPassword: string;
  servicePassword: string;
}

export interface DatabaseUrls {
  /** As `ims_owner`, who owns the schema and runs migrations. */
  ownerUrl: string;
  /** As `ims_app`, a login with the rights of `ims_service` and no more; gateways and workers use it. */
  serviceUrl: string;
}

/**
 * Makes the roles, the database and its schema `ims` as far as they are absent, and sets both passwords. Safe to run again.
 * Append-only events rest on this split: the login that serves requests does not own the tables.
 */
export async function provisionDatabase(options: DatabaseOptions): Promise<DatabaseUrls> {
  await withClient(options.adminUrl, async (client) => {
    await ensureRole(client, 'ims_service', 'nologin');
    await ensureRole(client, 'ims_owner', 'login');
    await ensureRole(client, 'ims_app', 'login');
    await client.query('grant ims_service to ims_app');
    for (const role of ['ims_owner', 'ims_app']) await client.query(`alter role ${role} set search_path = ims`);
    await client.query(`alter role ims_owner password ${client.escapeLiteral(options.ownerPassword)}`);
    await client.query(`alter role ims_app password ${client.escapeLiteral(options.servicePassword)}`);
    const present = await client.query('select from pg_database where datname = $1', [options.database]);
    if (present.rowCount === 0) {
      await client.query(`create database ${client.escapeIdentifier(options.database)} owner ims_owner`);
    }
  });
  await withClient(databaseUrl(options.adminUrl, options.database), async (client) => {
    await client.query('create schema if not exists ims authorization ims_owner');
  });
  return {
    ownerUrl: databaseUrl(options.adminUrl, options.database, 'ims_owner', options.ownerPassword),
    serviceUrl: databaseUrl(options.adminUrl, options.database, 'ims_app', options.servicePassword),
  };
}

/** A fresh database that is a copy of `template`, to which nobody may be connected. */
export async function cloneDatabase(adminUrl: string, template: string, database: string): Promise<void> {
  await withClient(adminUrl, async (client) => {
    // Copying files is quicker than logging every page of a schema that holds no data.
    await client.query(
      `create database ${client.escapeIdentifier(database)} template ${client.escapeIdentifier(template)} owner ims_owner strategy file_copy`,
    );
  });
}

/** Removes the database and whoever is still connected to it. */
export async function dropDatabase(adminUrl: string, database: string): Promise<void> {
  await withClient(adminUrl, async (client) => {
    await client.query(`drop database if exists ${client.escapeIdentifier(database)} with (force)`);
  });
}

/** The same server, another database and, when given, another login. */
export function databaseUrl(url: string, database: string, user?: string, password?: string): string {
  const parsed = new URL(url);
  parsed.pathname = `/${encodeURIComponent(database)}`;
  if (user !== undefined) parsed.username = encodeURIComponent(user);
  if (password !== undefined) parsed.password = encodeURIComponent(password);
  return parsed.href;
}

async function ensureRole(client: Client, name: string, kind: 'login' | 'nologin'): Promise<void> {
  const present = await client.query('select from pg_roles where rolname = $1', [name]);
  if (present.rowCount === 0) await client.query(`create role ${client.escapeIdentifier(name)} ${kind}`);
}

async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
