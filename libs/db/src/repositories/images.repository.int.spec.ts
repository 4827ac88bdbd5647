import { randomBytes, randomUUID } from 'node:crypto';
import { IMAGE_SORT_KEYS, SORT_DIRECTIONS } from '@ims/contract';
import { testDatabase, type TestDatabase } from '@ims/testing';
import { type Compilable, sql } from 'kysely';
import { connect } from '../connect';
import { inTransaction } from '../in-transaction';
import { type ProjectedEvent, project } from '../projections/project';
import {
  type ImageFilter,
  type ImageListRequest,
  type ImageRow,
  ImagesRepository,
  MarkerNotFoundError,
} from './images.repository';

let database: TestDatabase;
let images: ImagesRepository;
beforeAll(async () => {
  database = await testDatabase();
  images = new ImagesRepository(database.db);
});
afterAll(() => database.drop());

const aProject = () => randomBytes(16).toString('hex');

interface Wanted {
  name?: string;
  tags?: string[];
  attributes?: Record<string, string | number | boolean>;
  createdAt?: Date;
  fileBytes?: number;
  deleted?: boolean;
}

async function anImage(projectId: string, wanted: Wanted = {}): Promise<string> {
  const id = randomUUID();
  const occurredAt = wanted.createdAt ?? new Date('2026-11-24T10:00:00Z');
  const rest = { streamId: `image:${id}`, projectId, occurredAt };
  const events: ProjectedEvent[] = [
    {
      type: 'image.queued',
      data: {
        name: wanted.name ?? 'web',
        diskFormat: 'zvhd2',
        minDiskGib: 40,
        minRamMib: 0,
        tags: wanted.tags ?? [],
        attributes: wanted.attributes ?? {},
      },
      ...rest,
    },
  ];
  if (wanted.fileBytes !== undefined) {
    const hash = randomBytes(32).toString('hex');
    events.push({
      type: 'image.published',
      data: {
        domainId: randomUUID(),
        manifestHash: hash,
        contentRoot: hash,
        virtualSizeBytes: wanted.fileBytes,
        storedBytes: wanted.fileBytes,
        fileBytes: wanted.fileBytes,
        attributes: {},
      },
      ...rest,
    });
  }
  if (wanted.deleted === true) events.push({ type: 'image.deleted', data: {}, ...rest });
  await inTransaction(database.db, async (trx) => {
    for (const event of events) await project(trx, event);
  });
  return id;
}

const found = async (projectId: string, filter: ImageFilter) =>
  (await images.list({ projectId, filter, limit: 1000 })).map(({ id }) => id).sort();

describe(ImagesRepository.name, () => {
  it('shows a project its own live images only (I7, IMG-07)', async () => {
    const [mine, theirs] = [aProject(), aProject()];
    const id = await anImage(mine);
    const gone = await anImage(mine, { deleted: true });
    expect((await images.find(mine, id))?.id).toBe(id);
    expect(await images.find(theirs, id)).toBeUndefined();
    expect(await images.find(mine, gone)).toBeUndefined();
    expect(await found(mine, {})).toEqual([id]);
    expect(await found(theirs, {})).toEqual([]);
    expect(await found(mine, { owner: theirs })).toEqual([]);
    expect(await images.count(mine)).toBe(1);
  });

  describe('filters (ims-api 4.1)', () => {
    const projectId = aProject();
    const ids: Record<string, string> = {};
    beforeAll(async () => {
      const made: Record<string, Wanted> = {
        linux: {
          name: 'web-base',
          tags: ['env=prod', 'web'],
          attributes: { __os_type: 'Linux', __os_bit: '64', __support_kvm: 'true' },
          fileBytes: 1_000,
        },
        windows: {
          name: 'Office',
          tags: ['env=test'],
          attributes: { __os_type: 'Windows', virtual_env_type: 'IsoImage', __support_kvm: true },
          fileBytes: 5_000_000_000,
        },
        arm: {
          name: 'web',
          tags: ['environment=prod', 'a=b=c'],
          attributes: { __support_arm: 'true', hw_firmware_type: 'uefi', __level: 7 },
        },
        late: { name: '100%_web', createdAt: new Date('2026-11-24T10:00:05.500Z') },
      };
      for (const [name, wanted] of Object.entries(made)) ids[name] = await anImage(projectId, wanted);
    });
    const at = new Date('2026-11-24T10:00:05Z');
    it.each([
      ['name, exactly', { name: ['web'] }, ['arm']],
      ['one of several names', { name: ['web', 'Office', 'absent'] }, ['arm', 'windows']],
      ['part of a name in any case', { nameContains: 'WEB' }, ['linux', 'arm', 'late']],
      ['part of a name with the signs of a pattern', { nameContains: '%_' }, ['late']],
      ['status', { status: ['active'] }, ['linux', 'windows']],
      ['several statuses', { status: ['active', 'queued'] }, ['linux', 'windows', 'arm', 'late']],
      ['visibility private', { visibility: 'private' }, ['linux', 'windows', 'arm', 'late']],
      ['visibility public', { visibility: 'public' }, []],
      ['an unknown visibility', { visibility: 'community' }, []],
      ['image type', { imageType: 'private' }, ['linux', 'windows', 'arm', 'late']],
      ['image type gold', { imageType: 'gold' }, []],
      ['protected', { protected: true }, []],
      ['not protected', { protected: false }, ['linux', 'windows', 'arm', 'late']],
      ['container format', { containerFormat: ['bare'] }, ['linux', 'windows', 'arm', 'late']],
      ['another container format', { containerFormat: ['ovf'] }, []],
      ['disk format', { diskFormat: ['raw'] }, []],
      ['min_disk', { minDiskGib: 40 }, ['linux', 'windows', 'arm', 'late']],
      ['min_ram', { minRamMib: 512 }, []],
      ['least size', { sizeMin: 1_001 }, ['windows']],
      ['least size, met exactly', { sizeMin: 1_000 }, ['linux', 'windows']],
      ['greatest size', { sizeMax: 1_000 }, ['linux', 'arm', 'late']],
      ['an attribute', { attributes: { __os_type: 'Linux' } }, ['linux']],
      ['two attributes', { attributes: { __os_type: 'Linux', __os_bit: '32' } }, []],
      ['an attribute stored as text or as boolean', { attributes: { __support_kvm: 'true' } }, ['linux', 'windows']],
      ['an attribute stored as number', { attributes: { __level: '7' } }, ['arm']],
      ['a number that is written differently', { attributes: { __level: '07' } }, []],
      ['an attribute nobody has', { attributes: { __support_s4l: 'true' } }, []],
      [
        'a value that unset attributes show',
        { attributes: { virtual_env_type: 'FusionCompute' } },
        ['linux', 'arm', 'late'],
      ],
      ['a value that is not the shown default', { attributes: { virtual_env_type: 'IsoImage' } }, ['windows']],
      ['registered', { attributes: { __isregistered: 'true' } }, ['linux', 'windows', 'arm', 'late']],
      ['architecture arm', { architecture: 'arm' }, ['arm']],
      ['architecture x86', { architecture: 'x86' }, ['linux', 'windows', 'late']],
      ['a tag by key and value', { tags: ['env=prod'] }, ['linux']],
      ['a tag by key', { tags: ['env'] }, ['linux', 'windows']],
      ['a tag in the older spelling', { tags: ['env.test'] }, ['windows']],
      ['a tag without value', { tags: ['web'] }, ['linux']],
      ['a tag whose value has an equals sign', { tags: ['a=b=c'] }, ['arm']],
      ['all of several tags', { tags: ['env=prod', 'web'] }, ['linux']],
      ['tags that no image has together', { tags: ['env=prod', 'env=test'] }, []],
      ['made in the second', { createdAt: [{ operator: 'eq', at }] }, ['late']],
      ['made after the second', { createdAt: [{ operator: 'gt', at }] }, []],
      ['made in the second or after', { createdAt: [{ operator: 'gte', at }] }, ['late']],
      ['made before the second', { createdAt: [{ operator: 'lt', at }] }, ['linux', 'windows', 'arm']],
      ['made in the second or before', { createdAt: [{ operator: 'lte', at }] }, ['linux', 'windows', 'arm', 'late']],
      ['not made in the second', { createdAt: [{ operator: 'neq', at }] }, ['linux', 'windows', 'arm']],
      [
        'updated in a range',
        {
          updatedAt: [
            { operator: 'gte', at },
            { operator: 'lte', at },
          ],
        },
        ['late'],
      ],
      ['filters together', { tags: ['env'], attributes: { __os_type: 'Windows' }, sizeMin: 1 }, ['windows']],
    ] satisfies [string, ImageFilter, string[]][])('%s', async (_, filter, expected) => {
      const names = new Map(Object.entries(ids).map(([name, id]) => [id, name]));
      const result = await found(projectId, filter);
      expect(result.map((id) => names.get(id)).sort()).toEqual([...expected].sort());
    });

    it('finds what is usable with a flavor: architecture, memory, bits and systems (OS-06, CRE-26, CRE-28, IMG-11)', async () => {
      const project = aProject();
      const system = { __os_version: 'CentOS 7.6 64bit' };
      const made: Record<string, Record<string, string | number>> = {
        plain: system,
        narrow: { ...system, max_ram: '4096' },
        unlimited: { ...system, max_ram: 0 },
        older: { __os_version: 'CentOS 6.9 32bit', __os_bit: '32' },
        other: { __os_version: 'CentOS 8.9 64bit' },
        arm: { ...system, __support_arm: 'true' },
        iso: { ...system, virtual_env_type: 'IsoImage' },
        data: { ...system, virtual_env_type: 'DataImage' },
        unnamed: {},
      };
      const names = new Map<string, string>();
      for (const [name, attributes] of Object.entries(made))
        names.set(await anImage(project, { name, attributes }), name);
      const usable = async (filter: Partial<NonNullable<ImageFilter['usableWith']>>) =>
        (
          await found(project, {
            usableWith: { architecture: 'x86', ramMib: 4096, without32Bit: false, ...filter },
          })
        )
          .map((id) => names.get(id))
          .sort();
      const osVersions = ['CentOS 7.6 64bit', 'CentOS 6.9 32bit'];
      expect(await usable({ osVersions })).toEqual(['narrow', 'older', 'plain', 'unlimited']);
      expect(await usable({ osVersions, ramMib: 8192, without32Bit: true })).toEqual(['plain', 'unlimited']);
      expect(await usable({ osVersions, architecture: 'arm' })).toEqual(['arm']);
      // No table speaks of the series (OS-12).
      expect(await usable({})).toEqual(['narrow', 'older', 'other', 'plain', 'unlimited', 'unnamed']);
      expect(await usable({ osVersions: [] })).toEqual([]);
    });

    it('finds by id, and nothing for an id that is unknown or no id at all', async () => {
      expect(await found(projectId, { id: [String(ids.arm)] })).toEqual([ids.arm]);
      expect(await found(projectId, { id: [randomUUID()] })).toEqual([]);
      expect(await found(projectId, { id: ["'; drop table image; --"] })).toEqual([]);
    });
  });

  describe('order and pages', () => {
    const projectId = aProject();
    beforeAll(async () => {
      // Few names, times and sizes, so that every order has ties to break.
      for (let n = 0; n < 23; n += 1) {
        await anImage(projectId, {
          name: `image-${n % 3}`,
          createdAt: new Date(Date.UTC(2026, 10, 24, 10, 0, n % 4)),
          ...(n % 2 === 0 ? { fileBytes: 1_000 + (n % 5) } : {}),
        });
      }
    });

    const sorts = IMAGE_SORT_KEYS.flatMap((key) => SORT_DIRECTIONS.map((direction) => [{ key, direction }]));
    it.each(
      [
        [],
        ...sorts,
        [{ key: 'name', direction: 'asc' } as const, { key: 'created_at', direction: 'desc' } as const],
        [
          { key: 'size', direction: 'desc' } as const,
          { key: 'name', direction: 'asc' } as const,
          { key: 'id', direction: 'asc' } as const,
        ],
      ].map((sort) => ({ sort })),
    )('every image comes exactly once, page by page: $sort', async ({ sort }) => {
      const whole = await images.list({ projectId, sort, limit: 1000 });
      expect(whole).toHaveLength(23);
      expectOrder(whole, sort);
      const paged: ImageRow[] = [];
      for (;;) {
        const marker = paged.at(-1)?.id;
        const page = await images.list({ projectId, sort, limit: 4, ...(marker === undefined ? {} : { marker }) });
        paged.push(...page);
        if (page.length < 4) break;
      }
      expect(paged).toEqual(whole);
    });

    it('is newest first when nothing is said', async () => {
      const rows = await images.list({ projectId, limit: 1000 });
      expectOrder(rows, [{ key: 'created_at', direction: 'desc' }]);
    });

    it('goes on behind an image that was deleted meanwhile', async () => {
      const other = aProject();
      for (let n = 0; n < 3; n += 1) await anImage(other, { name: `image-${n}` });
      const sort = [{ key: 'name', direction: 'asc' } as const];
      const [first] = await images.list({ projectId: other, sort, limit: 1 });
      await inTransaction(database.db, (trx) =>
        project(trx, {
          type: 'image.deleted',
          data: {},
          streamId: `image:${first?.id}`,
          projectId: other,
          occurredAt: new Date(0),
        }),
      );
      const rest = await images.list({ projectId: other, sort, limit: 5, marker: String(first?.id) });
      expect(rest.map(({ name }) => name)).toEqual(['image-1', 'image-2']);
    });

    it('refuses a marker that is no image of the project', async () => {
      const foreign = await anImage(aProject());
      await expect(images.list({ projectId, marker: foreign, limit: 5 })).rejects.toThrow(MarkerNotFoundError);
      await expect(images.list({ projectId, marker: 'none', limit: 5 })).rejects.toThrow(MarkerNotFoundError);
    });

    it('is empty for a limit of 0', async () => {
      expect(await images.list({ projectId, limit: 0 })).toEqual([]);
    });
  });

  describe('with twenty thousand images', () => {
    const projectId = aProject();
    beforeAll(async () => {
      await sql`
        insert into image (id, project_id, name, status, disk_format, min_disk_gib, min_ram_mib, tags, attributes, file_bytes, created_at, updated_at)
        select gen_random_uuid(), ${projectId}, 'image-' || n, 'active', 'zvhd2', 40, 0,
          case when n % 1000 = 0 then array['rare=yes'] else array['env=prod'] end,
          jsonb_build_object('__os_type', 'Linux', '__serial', n), n, timestamptz '2026-01-01' + n * interval '1 second', timestamptz '2026-01-01'
        from generate_series(1, 20000) n`.execute(database.db);
      const owner = connect(database.ownerUrl, { poolSize: 1 });
      await sql`vacuum analyze image`.execute(owner);
      await owner.destroy();
    });

    it.each<[string, Omit<ImageListRequest, 'projectId' | 'limit'>, string]>([
      ['the first page', {}, 'image_page'],
      ['the first page by name', { sort: [{ key: 'name', direction: 'asc' }] }, 'image_name'],
      ['one name', { filter: { name: ['image-777'] } }, 'image_name'],
      ['a rare tag', { filter: { tags: ['rare'] } }, 'image_tags'],
      ['a rare attribute', { filter: { attributes: { __serial: '4711' } } }, 'image_attributes'],
    ])('%s is read from an index', async (_, request, index) => {
      const plan = await planOf({ projectId, limit: 25, ...request });
      expect(plan).toContain(index);
      expect(plan).not.toContain('Seq Scan');
    });

    it.each([
      ['created_at', 'image_page'],
      ['name', 'image_name'],
    ] as const)('a deep page by %s reads no more rows than the first one', async (key, index) => {
      const sort = [{ key, direction: 'desc' } as const];
      const marker = (await images.list({ projectId, sort, limit: 15_000 })).at(-1)?.id;
      const page = { projectId, sort, limit: 25, ...(marker === undefined ? {} : { marker }) };
      // Own images alone, and with what others have that the project sees: the same range of the same index.
      for (const filter of [{ owner: projectId }, {}]) {
        const plan = await planOf({ ...page, filter });
        expect(plan).toContain(index);
        // A filter above the index would mean that the pages before are read and thrown away.
        expect(plan).not.toContain('Rows Removed');
        expect(plan).not.toContain('Seq Scan');
      }
      expect(await planOf({ ...page, filter: { owner: projectId } })).not.toContain('Sort');
    });
  });

  async function planOf(request: ImageListRequest): Promise<string> {
    const queries: Compilable[] = [];
    const spying = database.db.withPlugin({
      transformQuery: ({ node }) => {
        queries.push({ compile: () => database.db.getExecutor().compileQuery(node, { queryId: 'plan' }) });
        return node;
      },
      transformResult: ({ result }) => Promise.resolve(result),
    });
    await new ImagesRepository(spying).list(request);
    const query = queries.at(-1)?.compile();
    if (query === undefined) throw new Error('the list made no query');
    const { rows } = await database.db.executeQuery<{ 'QUERY PLAN': string }>({
      ...query,
      sql: `explain analyze ${query.sql}`,
    });
    return rows.map((row) => row['QUERY PLAN']).join('\n');
  }
});

function expectOrder(rows: ImageRow[], sort: NonNullable<ImageListRequest['sort']>): void {
  const valueOf = (row: ImageRow, key: (typeof sort)[number]['key']): string | number => {
    switch (key) {
      case 'size':
        return row.file_bytes ?? 0;
      case 'created_at':
      case 'updated_at':
        return row[key].getTime();
      case 'container_format':
        return 'bare';
      default:
        return row[key];
    }
  };
  for (const [n, row] of rows.entries()) {
    const previous = rows[n - 1];
    if (previous === undefined) continue;
    const differing = sort.find(({ key }) => valueOf(previous, key) !== valueOf(row, key));
    if (differing === undefined) continue;
    const [a, b] = [valueOf(previous, differing.key), valueOf(row, differing.key)];
    expect(differing.direction === 'asc' ? a < b : a > b).toBe(true);
  }
}
