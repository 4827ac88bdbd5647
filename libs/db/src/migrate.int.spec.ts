import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { testDatabase, type TestDatabase } from '@ims/testing';
import { sql } from 'kysely';
import { connect } from './connect';
import { migrateToLatest } from './migrate';
import { migrations } from './migrations';
import { OTHER_TABLES, PROJECTION_TABLES } from './projections/table-kinds';

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.drop());

describe(migrateToLatest.name, () => {
  it('runs every migration once when several processes migrate an empty database at the same moment', async () => {
    const admin = connect(database.adminUrl, { poolSize: 1 });
    const empty = `test_${randomBytes(8).toString('hex')}`;
    const url = new URL(database.ownerUrl);
    await sql`create database ${sql.id(empty)} owner ${sql.id(url.username)}`.execute(admin);
    try {
      url.pathname = `/${empty}`;
      const runs = await Promise.all([1, 2, 3].map(() => migrateToLatest(url.href)));
      expect(runs.flat()).toEqual(Object.keys(migrations).sort());
      expect(await migrateToLatest(url.href)).toEqual([]);
    } finally {
      await sql`drop database ${sql.id(empty)} with (force)`.execute(admin);
      await admin.destroy();
    }
  });

  it('knows every migration file by its name', async () => {
    const files = (await readdir(join(__dirname, 'migrations'))).filter((name) => /^\d{14}-.*\.ts$/.test(name));
    expect(Object.keys(migrations).sort()).toEqual(files.map((name) => name.replace(/\.ts$/, '')).sort());
  });

  it('makes a partition for this month and the next 23, none of them open to the service role', async () => {
    const { rows } = await sql<{ name: string; open: boolean }>`
      select c.relname as name, has_table_privilege('ims_service', c.oid, 'select') as open from pg_inherits i
      join pg_class c on c.oid = i.inhrelid where i.inhparent = 'event'::regclass and c.relname <> 'event_default' order by 1`.execute(
      database.db,
    );
    expect(rows).toHaveLength(24);
    expect(rows.every(({ open }) => !open)).toBe(true);
    const { rows: now } = await sql<{ month: string }>`select 'event_' || to_char(now(), 'YYYYMM') as month`.execute(
      database.db,
    );
    expect(rows[0]?.name).toBe(now[0]?.month);
  });
});

describe('tables', () => {
  it('are each either rebuilt from events or named with the reason why not', async () => {
    // Every schema of ours: a table in a new one is found too.
    const { rows } = await sql<{ name: string }>`
      select case n.nspname when 'ims' then c.relname else n.nspname || '.' || c.relname end as name
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p') and not c.relispartition and c.relname not like 'kysely%'
        and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg_toast%'`.execute(
      database.db,
    );
    const named = [...PROJECTION_TABLES, ...Object.keys(OTHER_TABLES)];
    expect(rows.map(({ name }) => name).sort()).toEqual([...named].sort());
    expect(new Set(named).size).toBe(named.length);
    for (const reason of Object.values(OTHER_TABLES)) expect(reason).not.toBe('');
  });

  it('have the types of db-types.ts', async () => {
    const script = join(__dirname, '../generate-types.mjs');
    await promisify(execFile)(process.execPath, [script, database.ownerUrl, '--check']);
  });
});
