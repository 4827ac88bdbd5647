import { Connection } from '@temporalio/client';
import { sql } from 'kysely';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from './temporary-directory';
import { testDatabase, type TestDatabase } from './test-database';
import { askForServer } from './test-server-protocol';
import { testTemporal, workflowBundlePath } from './test-temporal';

describe('test servers', () => {
  let first: TestDatabase;
  let second: TestDatabase;

  beforeAll(async () => {
    [first, second] = await Promise.all([testDatabase(), testDatabase()]);
  });
  const worker = process.env['JEST_WORKER_ID'];
  afterEach(() => {
    process.env['JEST_WORKER_ID'] = worker;
  });
  afterAll(() => Promise.all([first.drop(), second.drop()]));

  it('give each test file a database of its own, with every table and no row', async () => {
    await sql`insert into account (id, name) values ('a', 'only here')`.execute(first.db);
    const count = async ({ db }: TestDatabase) =>
      (await sql<{ n: string }>`select count(*)::text n from account`.execute(db)).rows;
    expect(await count(first)).toEqual([{ n: '1' }]);
    expect(await count(second)).toEqual([{ n: '0' }]);
  });

  it('connect as the service role, which may not change an event', async () => {
    const { rows } = await sql<{ name: string }>`select current_user::text as name`.execute(first.db);
    expect(rows).toEqual([{ name: 'ims_app' }]);
    await expect(sql`update event set type = 'x'`.execute(first.db)).rejects.toMatchObject({ code: '42501' });
    await expect(sql`delete from event`.execute(first.db)).rejects.toMatchObject({ code: '42501' });
  });

  it('give each Jest worker a cluster of its own, whose log no transaction of another one holds back', async () => {
    const ours = await askForServer('postgres');
    process.env['JEST_WORKER_ID'] = 'another';
    const theirs = await askForServer('postgres');
    expect(new URL(theirs.adminUrl).port).not.toBe(new URL(ours.adminUrl).port);
  });

  it('share one Temporal server whose namespace can be used', async () => {
    const { address, namespace } = await testTemporal();
    const connection = await Connection.connect({ address });
    try {
      const { namespaceInfo } = await connection.workflowService.describeNamespace({ namespace });
      expect(namespaceInfo?.name).toBe('default');
    } finally {
      await connection.close();
    }
    expect(await testTemporal()).toEqual({ address, namespace });
  });

  it('bundle the workflows once', async () => {
    const path = await workflowBundlePath();
    expect((await stat(path)).size).toBeGreaterThan(0);
    expect(await workflowBundlePath()).toBe(path);
  });

  it('give out empty directories that may be written', async () => {
    const [one, two] = await Promise.all([temporaryDirectory(), temporaryDirectory()]);
    expect(one).not.toBe(two);
    await writeFile(join(one, 'file'), 'x');
    await expect(stat(join(two, 'file'))).rejects.toThrow('ENOENT');
  });
});
