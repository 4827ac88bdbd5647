import { testDatabase, type TestDatabase } from '@ims/testing';
import { sql } from 'kysely';
import { inSnapshot, inTransaction, sqlState } from './in-transaction';

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
  await database.db
    .insertInto('quota')
    .values([
      { project_id: 'p', resource: 'a' },
      { project_id: 'p', resource: 'b' },
    ])
    .execute();
});
afterAll(() => database.drop());

const raise = (db: typeof database.db, resource: string) =>
  db
    .updateTable('quota')
    .set({ used: sql`used + 1` })
    .where('resource', '=', resource)
    .execute();
const used = async (resource: string) =>
  (await database.db.selectFrom('quota').select('used').where('resource', '=', resource).executeTakeFirstOrThrow())
    .used;

describe(inTransaction.name, () => {
  it('commits what the function did and gives its result', async () => {
    const before = await used('a');
    expect(await inTransaction(database.db, async (trx) => (await raise(trx, 'a'), 'done'))).toBe('done');
    expect(await used('a')).toBe(before + 1);
  });

  it('undoes everything when the function throws, and throws that', async () => {
    const before = await used('a');
    const failing = inTransaction(database.db, async (trx) => {
      await raise(trx, 'a');
      throw new RangeError('enough');
    });
    await expect(failing).rejects.toThrow(RangeError);
    expect(await used('a')).toBe(before);
  });

  it('runs the function again after a deadlock, so that both transactions commit', async () => {
    const [a, b] = [await used('a'), await used('b')];
    let runs = 0;
    // Each waits until the other one holds its first row; the second run of the loser finds the door open.
    let arrived = 0;
    let open: () => void = () => undefined;
    const bothArrived = new Promise<void>((resolve) => {
      open = resolve;
    });
    const crossing = (first: string, second: string) =>
      inTransaction(database.db, async (trx) => {
        runs += 1;
        await raise(trx, first);
        arrived += 1;
        if (arrived === 2) open();
        await bothArrived;
        await raise(trx, second);
      });
    await Promise.all([crossing('a', 'b'), crossing('b', 'a')]);
    expect([await used('a'), await used('b')]).toEqual([a + 2, b + 2]);
    expect(runs).toBe(3);
  });

  it('does not run the function again after any other error of Postgres', async () => {
    let runs = 0;
    const failing = inTransaction(database.db, async (trx) => {
      runs += 1;
      await trx.insertInto('quota').values({ project_id: 'p', resource: 'a' }).execute();
    });
    await expect(failing).rejects.toMatchObject({ code: '23505' });
    expect(runs).toBe(1);
  });

  it('gives up in the end when every run fails', async () => {
    let runs = 0;
    const failing = inTransaction(database.db, async (trx) => {
      runs += 1;
      await sql`do $$ begin raise exception 'again' using errcode = '40001'; end $$`.execute(trx);
    });
    await expect(failing).rejects.toMatchObject({ code: '40001' });
    expect(runs).toBe(6);
  });
});

describe(inSnapshot.name, () => {
  it('shows one moment, refuses to write, and takes no transaction id', async () => {
    const before = await used('a');
    await inSnapshot(database.db, async (view) => {
      const read = async () =>
        (await view.selectFrom('quota').select('used').where('resource', '=', 'a').executeTakeFirstOrThrow()).used;
      expect(await read()).toBe(before);
      await raise(database.db, 'a');
      expect(await read()).toBe(before);
      const { rows } = await sql<{ id: string | null }>`select pg_current_xact_id_if_assigned() as id`.execute(view);
      expect(rows).toEqual([{ id: null }]);
    });
    await expect(inSnapshot(database.db, (view) => raise(view, 'a'))).rejects.toMatchObject({ code: '25006' });
  });
});

describe(sqlState.name, () => {
  it.each([
    [Object.assign(new Error('x'), { code: '40001' }), '40001'],
    [new Error('outer', { cause: Object.assign(new Error('x'), { code: '23505' }) }), '23505'],
    [Object.assign(new Error('x'), { code: 'ECONNREFUSED' }), undefined],
    ['40001', undefined],
  ])('reads %j', (error, state) => {
    expect(sqlState(error)).toBe(state);
  });
});
