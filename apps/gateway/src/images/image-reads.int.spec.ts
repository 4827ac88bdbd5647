import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { createJob } from '../testing/published-image';
import { ImageReadsService } from './image-reads.service';

const COUNT = 7;

let gateway: GatewayUnderTest;
let token: string;
const ids: string[] = [];

interface Listed {
  id: string;
  name: string;
}
const get = (path: string, as = token) => gateway.app.inject({ url: path, headers: { 'x-auth-token': as } });
const list = async (query: string): Promise<Listed[]> =>
  (await get(`/v2/cloudimages?${query}`)).json<{ images: Listed[] }>().images;
const names = async (query: string): Promise<string[]> => (await list(query)).map(({ name }) => name).sort();

beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
  for (let n = 0; n < COUNT; n += 1) {
    const tags = n % 2 === 0 ? [{ key: 'env', value: 'prod' }, { key: 'even' }] : [{ key: 'env', value: 'test' }];
    const created = await createJob(gateway, token, { name: `image-${n}`, min_disk: 10 + n, image_tags: tags });
    ids.push(created.imageId);
  }
  await createJob(gateway, (await gateway.anotherAccount()).token, { name: 'foreign' });
});
afterAll(() => gateway.close());

describe(ImageReadsService.name, () => {
  it('pages by marker until the empty page, each image once (libraries rule 5)', async () => {
    const seen: string[] = [];
    for (;;) {
      const marker = seen.length === 0 ? '' : `&marker=${seen.at(-1)}`;
      const page = await list(`limit=3${marker}`);
      if (page.length === 0) break;
      seen.push(...page.map(({ id }) => id));
    }
    expect(seen).toEqual([...ids].reverse());
  });

  it('follows `next` through the OpenStack list, each image once, and ends without one', async () => {
    const seen: string[] = [];
    let path: string | undefined = '/v2/images?limit=3&tag=env%3Dprod&sort_key=name&sort_dir=asc';
    const first: string[] = [];
    while (path !== undefined) {
      const page: { images: Listed[]; next?: string; first: string; schema: string } = (await get(path)).json();
      seen.push(...page.images.map(({ name }) => name));
      first.push(page.first);
      expect(page.schema).toBe('/v2/schemas/images');
      path = page.next;
    }
    expect(seen).toEqual(['image-0', 'image-2', 'image-4', 'image-6']);
    expect(new Set(first).size).toBe(1);
  });

  it('has no next page when the last one is just full', async () => {
    const page = (await get(`/v2/images?limit=${COUNT}`)).json<{ images: Listed[]; next?: string }>();
    expect([page.images.length, page.next]).toEqual([COUNT, undefined]);
  });

  it.each([
    ['/v2/cloudimages?flavor_id=s6.large.2', 200, undefined],
    ['/v2/cloudimages?flavor_id=nonsense', 400, 'IMG.0192'],
    ['/v2/cloudimages?flavor_id=physical.s4.medium', 400, 'IMG.0192'],
    ['/v2/cloudimages?flavor_id=z9.large.2', 400, 'IMG.0191'],
    ['/v1/cloudimages/os_version?tag=xen', 400, 'IMG.0001'],
  ])('answers %s with %i (OS-06, ims-api 4.1, 4.4)', async (path, status, code) => {
    const answer = await get(path);
    expect(answer.statusCode).toBe(status);
    if (code === undefined) expect(answer.json()).toEqual({ images: [] });
    else expect(answer.json()).toMatchObject({ error: { code } });
  });

  it('lists systems as a bare array, by tag (OS-18, ims-api 4.4)', async () => {
    const systems = (await get('/v1/cloudimages/os_version?tag=uefi&tag=x86')).json<{ version_list: object[] }[]>();
    expect(systems.length).toBeGreaterThan(5);
    expect(systems[0]?.version_list[0]).toMatchObject({ os_bit: 64, os_type: expect.any(String) as string });
    const uefi = (await get('/v1/cloudimages/os_version?tag=uefi')).json<{ version_list: object[] }[]>();
    expect(uefi.flatMap(({ version_list }) => version_list)).toHaveLength(43);
  });

  it.each([
    ['name=image-3', ['image-3']],
    ['min_disk=12', ['image-2']],
    ['tag=even&tag=env%3Dprod', ['image-0', 'image-2', 'image-4', 'image-6']],
    ['tag=even&tag=env%3Dtest', []],
    ['status=active', []],
    ['owner=ffffffffffffffffffffffffffffffff', []],
    ['__imagetype=gold&visibility=public&protected=true', []],
    ['member_status=accepted&visibility=shared&__imagetype=shared', []],
    ['id=00000000-0000-4000-8000-000000000000', []],
    ['limit=0', []],
    ['created_at=lt:2020-01-01T00:00:00Z', []],
    ['__data_origin=file%2Cimages%3Adisk.raw&name=image-1&virtual_env_type=FusionCompute&unknown=1', ['image-1']],
  ])('filters by %s', async (query, expected) => {
    expect(await names(query)).toEqual(expected);
  });

  it('finds images by a part of their name in any case, those of Windows left out (IMG-16, ims-api 4.3)', async () => {
    const fuzzy = async (query: string) =>
      (await get(`/v1/cloudimages/fuzzy?${query}`))
        .json<{ images: Listed[] }>()
        .images.map(({ name }) => name)
        .sort();
    expect(await fuzzy('name=AGE-3')).toEqual(['image-3']);
    expect(await fuzzy('name=%25')).toEqual([]);
    expect(await fuzzy('name=mag&tag=even')).toEqual(['image-0', 'image-2', 'image-4', 'image-6']);
    expect(await fuzzy('name=image&limit=2&sort_key=name&sort_dir=asc&__os_version=ignored')).toEqual([
      'image-0',
      'image-1',
    ]);
    expect(await fuzzy('__os_type=Windows')).toEqual([]);
  });

  it('lists one project’s images and no other’s', async () => {
    expect(await names('')).toEqual(ids.map((_id, n) => `image-${n}`));
  });

  it.each([
    'marker=00000000-0000-4000-8000-000000000000',
    'limit=many',
    'sort_key=password',
    'name=a%00b',
    'architecture=mips',
  ])('refuses ?%s with 400 in both dialects', async (query) => {
    const extension = await get(`/v2/cloudimages?${query}`);
    expect([extension.statusCode, extension.json<{ error: { code: string } }>().error.code]).toEqual([
      400,
      expect.stringMatching(/^IMG\./),
    ]);
    // `architecture` is just a property there.
    if (!query.startsWith('architecture')) expect((await get(`/v2/images?${query}`)).statusCode).toBe(400);
  });

  it('shows an image, and 404 for a name in the place of an id (ims-api 12.4)', async () => {
    expect((await get(`/v2/images/${ids[0]}`)).json()).toMatchObject({
      id: ids[0],
      name: 'image-0',
      status: 'queued',
      tags: ['env=prod', 'even'],
    });
    for (const name of ['image-0', '%00', '..%2f..', 'x'.repeat(2000)])
      expect((await get(`/v2/images/${name}`)).statusCode).toBe(404);
  });
});
