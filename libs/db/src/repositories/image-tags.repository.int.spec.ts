import { randomBytes } from 'node:crypto';
import { testDatabase, type TestDatabase } from '@ims/testing';
import { type Compilable, sql } from 'kysely';
import { connect } from '../connect';
import { ImageTagsRepository, type ImageTagSearch } from './image-tags.repository';

const projectId = randomBytes(16).toString('hex');
const COUNT = 6_000;

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
  await sql`
    insert into image (id, project_id, name, status, disk_format, min_disk_gib, min_ram_mib, tags, attributes, created_at, updated_at)
    select gen_random_uuid(), ${projectId}, 'image-' || n, 'active', 'zvhd2', 40, 0,
      case n % 1000 when 0 then array['rare=yes', 'env=prod'] when 1 then array['seldom'] else array['env=prod', 'n=' || n % 100] end,
      '{}', now() - n * interval '1 second', now()
    from generate_series(1, ${COUNT}) n`.execute(database.db);
  const owner = connect(database.ownerUrl, { poolSize: 1 });
  await sql`vacuum analyze image`.execute(owner);
  await owner.destroy();
});
afterAll(() => database.drop());

async function planOf(search: ImageTagSearch): Promise<string> {
  const queries: Compilable[] = [];
  const spying = database.db.withPlugin({
    transformQuery: ({ node }) => {
      queries.push({ compile: () => database.db.getExecutor().compileQuery(node, { queryId: 'plan' }) });
      return node;
    },
    transformResult: ({ result }) => Promise.resolve(result),
  });
  await new ImageTagsRepository(spying).count(projectId, search);
  const query = queries.at(-1)?.compile();
  if (query === undefined) throw new Error('nothing was asked');
  const { rows } = await database.db.executeQuery<{ 'QUERY PLAN': string }>({ ...query, sql: `explain ${query.sql}` });
  return rows.map((row) => row['QUERY PLAN']).join('\n');
}

describe(ImageTagsRepository.name, () => {
  it.each<[string, ImageTagSearch, number]>([
    ['a key', { all: [{ key: 'rare', values: [] }] }, 6],
    ['a value of it', { all: [{ key: 'rare', values: ['yes', 'no'] }] }, 6],
    ['a key that is a tag', { all: [{ key: 'seldom', values: [''] }] }, 6],
    [
      'one of two',
      {
        any: [
          { key: 'rare', values: [] },
          { key: 'seldom', values: [] },
        ],
      },
      12,
    ],
  ])('finds images with %s by the index of tags (MGT-07)', async (_what, search, count) => {
    const tags = new ImageTagsRepository(database.db);
    expect(await tags.count(projectId, search)).toBe(count);
    expect(await tags.find(projectId, search, { limit: 1000, offset: 0 })).toHaveLength(count);
    const plan = await planOf(search);
    expect(plan).toContain('image_tags');
    expect(plan).not.toContain('Seq Scan on image');
  });

  it('counts those that have none of them', async () => {
    const tags = new ImageTagsRepository(database.db);
    expect(await tags.count(projectId, { notAny: [{ key: 'rare', values: [] }] })).toBe(COUNT - 6);
    expect(await tags.count(randomBytes(16).toString('hex'), {})).toBe(0);
  });
});
