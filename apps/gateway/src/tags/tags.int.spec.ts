import { randomBytes, randomUUID } from 'node:crypto';
import { rebuildProjections } from '@ims/event-log';
import { trailViolations } from '@ims/testing';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { createJob, publishImage } from '../testing/published-image';
import { TagsService } from './tags.service';

let gateway: GatewayUnderTest;
let token: string;
let id: string;
let project: string;
beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
  project = gateway.identity.projectId;
  id = (await publishImage(gateway, token, randomBytes(2 ** 12))).id;
});
afterAll(() => gateway.close());

type Method = 'GET' | 'PUT' | 'POST' | 'DELETE';
const call = (method: Method, url: string, body?: unknown, as = token) =>
  gateway.app.inject({
    method,
    url,
    headers: { 'x-auth-token': as, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { payload: JSON.stringify(body) }),
  });
const codeOf = (answer: { body: string }) => /IMG\.\d{4}/.exec(answer.body)?.[0];
const tagsOf = async (image = id) => {
  const answer = await call('GET', `/v2/images/${image}`);
  return answer.json<{ tags: string[] }>().tags;
};
const ofProject = (rest: string) => `/v2/${project}/images/${rest}`;
const eventTypes = async () =>
  (
    await gateway.parts.db
      .selectFrom('event')
      .select('type')
      .where('stream_id', '=', `image:${id}`)
      .where('type', 'in', ['image.tagged', 'image.untagged'])
      .execute()
  ).length;

describe(TagsService.name, () => {
  it('sets and removes tags by every route, each change an event and each repetition none (MGT-02, ims-api 8)', async () => {
    const steps: [Method, string, unknown, string[]][] = [
      ['PUT', '/v1/cloudimages/tags', { image_id: id, image_tag: { key: 'env', value: 'prod' } }, ['env=prod']],
      ['PUT', '/v1/cloudimages/tags', { image_id: id, tag: 'env.stage.1' }, ['env=stage.1']],
      ['POST', ofProject(`${id}/tags`), { tag: { key: 'team', value: '' } }, ['env=stage.1', 'team']],
      [
        'POST',
        ofProject(`${id}/tags/action`),
        {
          action: 'create',
          tags: [
            { key: 'a', value: '1' },
            { key: 'env', value: 'test' },
          ],
        },
        ['env=test', 'team', 'a=1'],
      ],
      ['PUT', `/v2/images/${id}/tags/word`, undefined, ['env=test', 'team', 'a=1', 'word']],
      [
        'POST',
        ofProject(`${id}/tags/action`),
        { action: 'delete', tags: [{ key: 'team', value: 'any' }, { key: 'none' }] },
        ['env=test', 'a=1', 'word'],
      ],
      [
        'DELETE',
        `/v1/${project}/cloudimages/${id}/tags/delete`,
        { tags: [{ key: 'a', value: '1' }] },
        ['env=test', 'word'],
      ],
    ];
    let events = 0;
    for (const [method, url, body, tags] of steps) {
      expect([url, (await call(method, url, body)).statusCode]).toEqual([url, 204]);
      expect(await tagsOf()).toEqual(tags);
      events += 1;
      expect((await call(method, url, body)).statusCode).toBe(204);
      expect(await eventTypes()).toBe(events);
    }
    for (const url of [ofProject(`${id}/tags/env`), `/v2/images/${id}/tags/word`]) {
      expect((await call('DELETE', url)).statusCode).toBe(204);
      const again = await call('DELETE', url);
      expect([again.statusCode, codeOf(again)]).toEqual([404, 'IMG.0121']);
    }
    expect(await tagsOf()).toEqual([]);
  });

  it('removes a tag whose key is that of another route, and one that has to be escaped', async () => {
    await call('POST', ofProject(`${id}/tags/action`), {
      action: 'create',
      tags: [
        { key: 'action', value: '1' },
        { key: '键 +@:', value: '/v' },
      ],
    });
    expect((await call('GET', ofProject(`${id}/tags`))).json()).toEqual({
      tags: [
        { key: 'action', value: '1' },
        { key: '键 +@:', value: '/v' },
      ],
    });
    for (const key of ['action', '键 +@:'])
      expect((await call('DELETE', ofProject(`${id}/tags/${encodeURIComponent(key)}`))).statusCode).toBe(204);
    expect(await tagsOf()).toEqual([]);
  });

  it.each<[string, Method, string, unknown, number, string]>([
    ['both forms', 'PUT', '/v1/cloudimages/tags', { tag: 'a', image_tag: { key: 'a', value: '' } }, 400, 'IMG.0115'],
    ['neither form', 'PUT', '/v1/cloudimages/tags', {}, 400, 'IMG.0115'],
    ['a key twice', 'POST', 'tags/action', { action: 'create', tags: [{ key: 'a' }, { key: 'a' }] }, 400, 'IMG.0115'],
    [
      'a key to delete twice',
      'POST',
      'tags/action',
      { action: 'delete', tags: [{ key: 'a' }, { key: 'a' }] },
      400,
      'IMG.0115',
    ],
    ['no tags', 'POST', 'tags/action', { action: 'create', tags: [] }, 400, 'IMG.0115'],
    ['another action', 'POST', 'tags/action', { action: 'update', tags: [{ key: 'a' }] }, 400, 'IMG.0001'],
    ['an empty key', 'POST', 'tags', { tag: { key: '', value: 'x' } }, 400, 'IMG.0115'],
    [
      '11 tags',
      'POST',
      'tags/action',
      { action: 'create', tags: [...'abcdefghijk'].map((key) => ({ key })) },
      400,
      'IMG.0116',
    ],
  ])('refuses %s', async (_what, method, path, body, status, code) => {
    const url = path.startsWith('/') ? path : ofProject(`${id}/${path}`);
    const whole = path.startsWith('/') ? { image_id: id, ...Object(body) } : body;
    const answer = await call(method, url, whole);
    expect([answer.statusCode, codeOf(answer)]).toEqual([status, code]);
  });

  it('refuses a value in a word, in OpenStack’s way', async () => {
    const answer = await call('PUT', `/v2/images/${id}/tags/a%3Db`);
    expect([answer.statusCode, codeOf(answer)]).toEqual([400, 'IMG.0115']);
    expect(answer.headers['content-type']).toContain('text/html');
  });

  it('stops at 10 however many come at once, and loses none of them (MGT-03)', async () => {
    const image = (await publishImage(gateway, token, randomBytes(2 ** 12))).id;
    const answers = await Promise.all(
      Array.from({ length: 14 }, (_, n) =>
        n % 2 === 0
          ? call('PUT', `/v2/images/${image}/tags/t${n}`)
          : call('POST', ofProject(`${image}/tags`), { tag: { key: `t${n}`, value: 'v' } }),
      ),
    );
    const statuses = answers.map(({ statusCode }) => statusCode).sort();
    expect(statuses.filter((status) => status === 204)).toHaveLength(10);
    expect(answers.filter((answer) => codeOf(answer) === 'IMG.0116')).toHaveLength(4);
    expect(await tagsOf(image)).toHaveLength(10);
  });

  it('meets nobody’s and another’s image alike', async () => {
    const other = await gateway.anotherAccount();
    const urls = (image: string): [Method, string, unknown][] => [
      ['PUT', '/v1/cloudimages/tags', { image_id: image, tag: 'a.b' }],
      ['POST', `/v2/${other.projectId}/images/${image}/tags`, { tag: { key: 'a', value: 'b' } }],
      ['POST', `/v2/${other.projectId}/images/${image}/tags/action`, { action: 'create', tags: [{ key: 'a' }] }],
      ['DELETE', `/v2/${other.projectId}/images/${image}/tags/a`, undefined],
      ['DELETE', `/v1/${other.projectId}/cloudimages/${image}/tags/delete`, { tags: [{ key: 'a' }] }],
      ['GET', `/v2/${other.projectId}/images/${image}/tags`, undefined],
      ['PUT', `/v2/images/${image}/tags/a`, undefined],
      ['DELETE', `/v2/images/${image}/tags/a`, undefined],
    ];
    for (const image of [id, randomUUID()]) {
      for (const [method, url, body] of urls(image)) {
        const answer = await call(method, url, body, other.token);
        expect([method, url, answer.statusCode, codeOf(answer)]).toEqual([method, url, 404, 'IMG.0144']);
      }
    }
    const foreign = await call('GET', `/v2/${other.projectId}/images/tags`);
    expect([foreign.statusCode, codeOf(foreign)]).toEqual([400, 'IMG.0030']);
  });

  describe('finding images by tags (MGT-07, SVC-08, ims-api 8.3, 8.4)', () => {
    let other: Awaited<ReturnType<GatewayUnderTest['anotherAccount']>>;
    const ids: Record<string, string> = {};
    const IMAGES: Record<string, string[]> = {
      'web-prod': ['env=prod', 'team=ops', 'keyonly'],
      'web-stage': ['env=stage', 'team=ops'],
      'db-prod': ['env=prod', 'tier=db'],
      word: ['env.prod'],
      bare: [],
    };
    beforeAll(async () => {
      other = await gateway.anotherAccount();
      for (const [name, tags] of Object.entries(IMAGES)) {
        const made = await createJob(gateway, other.token, { name });
        ids[name] = made.imageId;
        for (const tag of tags) {
          const [key = '', value] = tag.split('=');
          await (value === undefined
            ? call('PUT', `/v2/images/${made.imageId}/tags/${key}`, undefined, other.token)
            : call('POST', `/v2/${other.projectId}/images/${made.imageId}/tags`, { tag: { key, value } }, other.token));
        }
      }
    });
    const find = async (body: object) =>
      call('POST', `/v2/${other.projectId}/images/resource_instances/action`, body, other.token);
    const set = (key: string, ...values: string[]) => ({ key, values });

    it.each<[string, object, string[]]>([
      ['any value of a key', { tags: [set('env')] }, ['db-prod', 'web-prod', 'web-stage']],
      ['one of several values', { tags: [set('env', 'prod', 'none')] }, ['db-prod', 'web-prod']],
      ['all of several keys', { tags: [set('env', 'prod'), set('team', 'ops')] }, ['web-prod']],
      ['a key without a value', { tags: [set('keyonly', '')] }, ['web-prod']],
      ['a key without a value that has one', { tags: [set('env', '')] }, []],
      ['a key that reads like another tag', { tags: [set('env.prod')] }, ['word']],
      ['any of several', { tags_any: [set('tier', 'db'), set('env', 'stage')] }, ['db-prod', 'web-stage']],
      ['not all of several', { not_tags: [set('env', 'prod'), set('team')] }, ['bare', 'db-prod', 'web-stage', 'word']],
      ['none of several', { not_tags_any: [set('env', 'prod'), set('team')] }, ['bare', 'word']],
      ['two lists', { tags: [set('env')], not_tags: [set('team', 'ops')] }, ['db-prod']],
      ['no tags at all', { without_any_tag: true, tags: [set('env')] }, ['bare']],
      ['a part of the name', { matches: [{ key: 'resource_name', value: 'PROD' }] }, ['db-prod', 'web-prod']],
      ['nothing', {}, ['bare', 'db-prod', 'web-prod', 'web-stage', 'word']],
      ['a key of another', { tags: [set('none')] }, []],
    ])('finds and counts by %s', async (_what, query, names) => {
      const found = (await find({ action: 'filter', limit: '1000', offset: '0', ...query })).json<{
        total_count: number;
        resources: { resource_id: string; resource_name: string }[];
      }>();
      expect(found.resources.map(({ resource_name }) => resource_name).sort()).toEqual(names);
      expect(found.resources.map(({ resource_id }) => resource_id).sort()).toEqual(
        names.map((name) => ids[name]).sort(),
      );
      expect((await find({ action: 'count', ...query })).json()).toEqual({ total_count: names.length });
      expect(found.total_count).toBe(names.length);
    });

    it('answers in the contract’s form, a page at a time', async () => {
      const matches = [{ key: 'resource_id', value: ids['web-prod'] }];
      expect((await find({ action: 'filter', matches })).json()).toEqual({
        total_count: 1,
        resources: [
          {
            resource_id: ids['web-prod'],
            resource_name: 'web-prod',
            resource_detail: { status: 'queued' },
            tags: [
              { key: 'env', value: 'prod' },
              { key: 'team', value: 'ops' },
              { key: 'keyonly', value: '' },
            ],
          },
        ],
      });
      const seen: string[] = [];
      for (let offset = 0; offset < 6; offset += 2) {
        const page = (await find({ action: 'filter', limit: '2', offset: String(offset) })).json<{
          total_count: number;
          resources: { resource_name: string }[];
        }>();
        expect(page.total_count).toBe(5);
        seen.push(...page.resources.map(({ resource_name }) => resource_name));
      }
      expect(seen).toEqual(Object.keys(IMAGES).reverse());
    });

    it.each<[string, object, string]>([
      ['another action', { action: 'Filter' }, 'IMG.0001'],
      ['an empty list', { action: 'filter', tags: [] }, 'IMG.0115'],
      ['11 keys', { action: 'filter', tags: [...'abcdefghijk'].map((key) => set(key)) }, 'IMG.0115'],
      ['11 values', { action: 'filter', tags: [set('a', ...'abcdefghijk')] }, 'IMG.0115'],
      ['a value twice', { action: 'filter', tags: [set('a', 'x', 'x')] }, 'IMG.0115'],
      ['a key twice', { action: 'filter', tags: [set('a'), set('a')] }, 'IMG.0115'],
      ['a key of 128 characters', { action: 'filter', tags: [set('x'.repeat(128))] }, 'IMG.0115'],
      ['a limit of 0', { action: 'filter', limit: '0' }, 'IMG.0001'],
      ['a limit of 1001', { action: 'filter', limit: '1001' }, 'IMG.0001'],
      ['an offset below 0', { action: 'filter', offset: '-1' }, 'IMG.0001'],
      [
        'a match twice',
        {
          action: 'filter',
          matches: [
            { key: 'resource_id', value: 'a' },
            { key: 'resource_id', value: 'b' },
          ],
        },
        'IMG.0001',
      ],
    ])('refuses %s', async (_what, body, code) => {
      const answer = await find(body);
      expect([answer.statusCode, codeOf(answer)]).toEqual([400, code]);
    });

    it('lists the tags of a project by key, and those of what a filter finds', async () => {
      expect((await call('GET', `/v2/${other.projectId}/images/tags`, undefined, other.token)).json()).toEqual({
        tags: [
          { key: 'env.prod', values: [''] },
          { key: 'env', values: ['prod', 'stage'] },
          { key: 'keyonly', values: [''] },
          { key: 'team', values: ['ops'] },
          { key: 'tier', values: ['db'] },
        ],
      });
      const list = async (query: string) =>
        (await call('GET', `/v1/cloudimages/tags${query}`, undefined, other.token)).json<{ tags: string[] }>().tags;
      const all = ['env.prod', 'env=prod', 'env=stage', 'keyonly', 'team=ops', 'tier=db'];
      expect((await list('')).sort()).toEqual(all);
      expect((await list('?name=db-prod')).sort()).toEqual(['env=prod', 'tier=db']);
      expect(await list('?status=active')).toEqual([]);
      const paged = [await list('?limit=4&page=1'), await list('?limit=4&page=2'), await list('?limit=4&page=3')];
      expect(paged.map(({ length }) => length)).toEqual([4, 2, 0]);
      expect(paged.flat().sort()).toEqual(all);
      expect((await call('GET', '/v1/cloudimages/tags?page=0', undefined, other.token)).statusCode).toBe(400);
    });

    it('filters both lists by tag (ims-api 4.1)', async () => {
      for (const url of ['/v2/cloudimages', '/v2/images']) {
        const answer = await call('GET', `${url}?tag=env%3Dprod&tag=team`, undefined, other.token);
        expect(answer.json<{ images: { name: string }[] }>().images.map(({ name }) => name)).toEqual(['web-prod']);
      }
    });
  });

  it('shows each image once, page after page, while others are made (MGT-07)', async () => {
    const other = await gateway.anotherAccount();
    const ids: string[] = [];
    const make = async (name: string) => (await createJob(gateway, other.token, { name, tags: ['page.1'] })).imageId;
    for (let n = 0; n < 5; n += 1) ids.push(await make(`image-${n}`));
    const seen: string[] = [];
    for (;;) {
      const marker = seen.length === 0 ? '' : `&marker=${seen.at(-1)}`;
      const url = `/v2/cloudimages?tag=page%3D1&virtual_env_type=FusionCompute&limit=2${marker}`;
      const { images } = (await call('GET', url, undefined, other.token)).json<{ images: { id: string }[] }>();
      seen.push(...images.map(({ id: found }) => found));
      if (images.length < 2) break;
      await make('late');
    }
    expect(seen).toEqual(ids.reverse());
  });

  it('is what its events say, folded or rebuilt (I5)', async () => {
    expect(await trailViolations(gateway.parts.db)).toEqual([]);
    expect((await rebuildProjections(gateway.database.ownerUrl)).differences).toEqual([]);
  });
});
