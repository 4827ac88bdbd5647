import { platformSeed, seedIdentity } from '@ims/access';
import { gatewayUnderTest, type GatewayUnderTest, PASSWORD, REGION } from '../testing/gateway-under-test';
import { QuotasService } from './quotas.service';

let gateway: GatewayUnderTest;
let token: string;
let operator: string;
beforeAll(async () => {
  gateway = await gatewayUnderTest();
  await seedIdentity(gateway.parts.db, gateway.rootKey, platformSeed(REGION, PASSWORD));
  operator = await gateway.tokenOf('platform', 'operator');
  token = await gateway.tokenOf('acme', 'alice');
});
afterAll(() => gateway.close());

const call = (method: 'GET' | 'PUT' | 'POST', url: string, payload?: object, as = token) =>
  gateway.app.inject({
    method,
    url,
    headers: { 'x-auth-token': as, 'content-type': 'application/json' },
    ...(payload === undefined ? {} : { payload }),
  });
const set = (quota: unknown, as = operator, more: object = {}) =>
  call('PUT', '/v1/cloudimages/quota', { project_id: gateway.identity.projectId, type: 'image', quota, ...more }, as);
const codeOf = (answer: { body: string }) => /IMG\.\d{4}/.exec(answer.body)?.[0];
const outcome = (answer: { statusCode: number; body: string }) => [answer.statusCode, codeOf(answer)];
const shown = async () =>
  (await call('GET', '/v1/cloudimages/quota')).json<{ quotas: { resources: object[] } }>().quotas.resources[0];
const create = (name: string) =>
  call('POST', '/v2/cloudimages/action', { name, image_url: 'images:disk.raw', min_disk: 10 });

describe(QuotasService.name, () => {
  it('is set by the operator alone, for a project that is there, and its trail tells who did it (CRE-23)', async () => {
    expect(await shown()).toEqual({ type: 'image', used: 0, quota: 50, min: 1, max: 1000 });
    const answer = await set(60);
    expect([answer.statusCode, answer.json()]).toMatchObject([200, { quotas: { resources: [{ quota: 60 }] } }]);
    expect(await shown()).toMatchObject({ quota: 60 });
    const event = await gateway.parts.db
      .selectFrom('event')
      .select(['data', 'actor', 'project_id'])
      .where('type', '=', 'quota.limit-set')
      .executeTakeFirstOrThrow();
    expect(event).toMatchObject({
      project_id: gateway.identity.projectId,
      actor: { userName: 'operator', call: { operation: 'UpdateImageQuota' } },
      data: { resource: 'image', limit: 60 },
    });
    expect(outcome(await set(70, token))).toEqual([403, 'IMG.0026']);
    for (const [quota, more, code] of [
      [0, {}, 'IMG.0001'],
      [1001, {}, 'IMG.0001'],
      ['many', {}, 'IMG.0001'],
      [5, { type: 'image_shared' }, 'IMG.0021'],
      [5, { project_id: 'nobody' }, 'IMG.0067'],
      [5, { project_id: 'e'.repeat(32) }, 'IMG.0108'],
    ] as const)
      expect(outcome(await set(quota, operator, more))).toEqual([400, code]);
    expect(await shown()).toMatchObject({ quota: 60 });
  });

  it('lets exactly one of fifty at once through while there is room for one (CRE-23)', async () => {
    expect((await create('first')).statusCode).toBe(200);
    await set(2);
    const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => create(`at-once-${n}`)));
    expect(answers.filter(({ statusCode }) => statusCode === 200)).toHaveLength(1);
    expect(answers.filter((answer) => codeOf(answer) === 'IMG.0015')).toHaveLength(49);
    expect(await shown()).toMatchObject({ used: 2, quota: 2 });
    const images = await gateway.parts.db.selectFrom('image').select('id').where('deleted_at', 'is', null).execute();
    expect(images).toHaveLength(2);
  });

  it('is the same for jobs at once (CRE-24), and lowering takes nothing away', async () => {
    await set(50);
    expect((await set(2, operator, { type: 'create_task' })).json()).toMatchObject({
      quotas: { resources: [{ type: 'create_task', used: 2, quota: 2 }] },
    });
    expect(outcome(await create('one more'))).toEqual([400, 'IMG.0060']);
    await set(1);
    expect(await shown()).toMatchObject({ used: 2, quota: 1 });
    await set(3, operator, { type: 'create_task' });
    expect(outcome(await create('one more'))).toEqual([400, 'IMG.0015']);
    await set(3);
    expect((await create('one more')).statusCode).toBe(200);
  });
});
