import { randomBytes } from 'node:crypto';
import { testDatabase, type TestDatabase } from '@ims/testing';
import { type Compilable, type Kysely, sql } from 'kysely';
import { connect } from '../connect';
import type { Database } from '../db-types';
import { ImageLineageRepository, LINE_BOUNDS } from './image-lineage.repository';

const projectId = randomBytes(16).toString('hex');
// Large enough for the planner to care: a line of a hundred generations, an image with more children than are told, and many others.
const GENERATIONS = 100;
const CHILDREN = 1_200;
const OTHERS = 6_000;

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
  const insert = (prefix: string, count: number, parent: string) =>
    sql`
      insert into image (id, project_id, name, status, disk_format, min_disk_gib, min_ram_mib, tags, attributes, created_at, updated_at, parent_id)
      select ${prefix} || '-' || n, ${projectId}, 'image', 'active', 'zvhd2', 40, 0, '{}', '{}', now(), now(), ${sql.raw(parent)}
      from generate_series(1, ${sql.raw(String(count))}) n`.execute(database.db);
  await insert('line', GENERATIONS, `case n when 1 then null else 'line-' || n - 1 end`);
  await insert('wide', CHILDREN, `case n when 1 then null else 'wide-1' end`);
  await insert('other', OTHERS, `case n % 3 when 0 then 'other-' || n - 1 end`);
  await sql`update image set revoked_at = now(), revoke_reason = 'leak' where id in ('line-10', 'line-30')`.execute(
    database.db,
  );
  const owner = connect(database.ownerUrl, { poolSize: 1 });
  await sql`vacuum analyze image`.execute(owner);
  await owner.destroy();
});
afterAll(() => database.drop());

async function planOf(ask: (lines: ImageLineageRepository) => Promise<unknown>): Promise<string> {
  const queries: Compilable[] = [];
  const spying: Kysely<Database> = database.db.withPlugin({
    transformQuery: ({ node }) => {
      queries.push({ compile: () => database.db.getExecutor().compileQuery(node, { queryId: 'plan' }) });
      return node;
    },
    transformResult: ({ result }) => Promise.resolve(result),
  });
  await ask(new ImageLineageRepository(spying));
  const query = queries.at(-1)?.compile();
  if (query === undefined) throw new Error('nothing was asked');
  const { rows } = await database.db.executeQuery<{ 'QUERY PLAN': string }>({ ...query, sql: `explain ${query.sql}` });
  return rows.map((row) => row['QUERY PLAN']).join('\n');
}

describe(ImageLineageRepository.name, () => {
  const lines = () => new ImageLineageRepository(database.db);

  it('goes up to the bound, nearest first', async () => {
    const up = await lines().ancestors('line-100');
    expect(up.map(({ id }) => id).slice(0, 3)).toEqual(['line-100', 'line-99', 'line-98']);
    expect(up).toHaveLength(LINE_BOUNDS.depth + 1);
    expect(await lines().ancestors('none')).toEqual([]);
  });

  it('finds the nearest revoked image at any depth, beyond what is shown too', async () => {
    expect(await lines().revoked('line-100')).toMatchObject({ id: 'line-30', depth: 70 });
    expect(await lines().revoked('line-31')).toMatchObject({ id: 'line-30', revokeReason: 'leak', depth: 1 });
    expect(await lines().revoked('line-30')).toMatchObject({ id: 'line-30', depth: 0 });
    expect(await lines().revoked('line-29')).toMatchObject({ id: 'line-10' });
    expect(await lines().revoked('line-9')).toBeUndefined();
  });

  it('goes down to the bounds of depth and number, one more than is told', async () => {
    const down = await lines().descendants('line-1');
    expect(down).toHaveLength(LINE_BOUNDS.depth);
    expect(down.map(({ id, depth }) => [id, depth]).slice(0, 2)).toEqual([
      ['line-2', 1],
      ['line-3', 2],
    ]);
    expect(await lines().descendants('wide-1')).toHaveLength(LINE_BOUNDS.members + 1);
    expect(await lines().descendants('line-100')).toEqual([]);
  });

  it.each<[string, (asked: ImageLineageRepository) => Promise<unknown>, string]>([
    ['ancestors', (asked) => asked.ancestors('line-50'), 'image_pkey'],
    ['what is revoked', (asked) => asked.revoked('line-50'), 'image_pkey'],
    ['descendants', (asked) => asked.descendants('line-50'), 'image_parent'],
  ])('finds %s by index', async (_what, ask, index) => {
    const plan = await planOf(ask);
    expect(plan).toContain(index);
    expect(plan).not.toContain('Seq Scan on image');
  });
});
