import { testDatabase, type TestDatabase, waitFor } from '@ims/testing';
import { sql } from 'kysely';
import { connect } from './connect';
import { inTransaction } from './in-transaction';

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterAll(() => database.drop());

const one = async (expression: string) =>
  (await sql.raw<{ value: unknown }>(`select ${expression} as value`).execute(database.db)).rows[0]?.value;

describe(connect.name, () => {
  it.each([
    ['bigint', '9007199254740991::bigint', 9_007_199_254_740_991],
    ['bigint below zero', '-9007199254740991::bigint', -9_007_199_254_740_991],
    ['count', '(select count(*) from quota)', 0],
    ['numeric', '1.50::numeric', '1.50'],
    ['timestamptz', `'2026-11-24 10:00:00.123+00'::timestamptz`, new Date('2026-11-24T10:00:00.123Z')],
    ['bytea', `'\\x00ff'::bytea`, Buffer.from([0, 255])],
    ['jsonb', `'{"a":[1]}'::jsonb`, { a: [1] }],
    ['xid8', `'18446744073709551615'::xid8`, '18446744073709551615'],
    ['text[]', `array['a', 'b,c']`, ['a', 'b,c']],
  ])('reads %s', async (_, expression, value) => {
    expect(await one(expression)).toEqual(value);
  });

  it('refuses a bigint that a number cannot hold, rather than rounding it', async () => {
    await expect(one('9007199254740993::bigint')).rejects.toThrow(/9007199254740993 does not fit/);
  });

  it('finds tables in the schema ims alone, and counts in UTC', async () => {
    expect(await one("current_setting('search_path')")).toBe('ims');
    expect(await one("current_setting('timezone')")).toBe('UTC');
  });

  it('refuses a schema name that is more than a name', () => {
    expect(() => connect(database.url, { poolSize: 1, schema: 'ims -c role=postgres' })).toThrow(TypeError);
  });

  it('goes on after Postgres has dropped its connections, an idle one and one between two queries of a transaction', async () => {
    const db = connect(database.url, { poolSize: 2 });
    const admin = connect(database.adminUrl, { poolSize: 1 });
    const dropConnectionOf = async (connection: typeof db) => {
      const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(connection);
      const pid = rows[0]?.pid;
      await sql`select pg_terminate_backend(${pid})`.execute(admin);
      await waitFor(
        async () => (await sql`select from pg_stat_activity where pid = ${pid}`.execute(admin)).rows.length === 0,
        { deadlineMs: 10_000, what: 'the connection to end' },
      );
    };
    await dropConnectionOf(db);
    const cut = inTransaction(db, async (trx) => {
      await dropConnectionOf(trx);
      await sql`select 1`.execute(trx);
    });
    await expect(cut).rejects.toThrow();
    // The pool hears of a dropped connection by its socket, a moment after Postgres has forgotten it.
    await waitFor(
      async () => {
        const { rows } = await sql<{ n: number }>`select 1 as n`.execute(db);
        return rows[0]?.n === 1;
      },
      { deadlineMs: 10_000, what: 'a query on a fresh connection' },
    );
    await Promise.all([db.destroy(), admin.destroy()]);
  });
});
