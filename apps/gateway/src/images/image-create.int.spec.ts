import { signRequest } from '@ims/access';
import { jobStream, jobId as toJobId } from '@ims/contract';
import { systemClock } from '@ims/db';
import { readStream } from '@ims/event-log';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { ImageCreateService } from './image-create.service';

let gateway: GatewayUnderTest;
let token: string;

beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
});
afterAll(() => gateway.close());

const BODY = { name: 'debian', image_url: 'images:debian/12.qcow2', min_disk: 10, description: 'golden' };

const UBUNTU = 'Ubuntu 18.04 Server 64bit';

const create = (payload: object | string, as = token, url = '/v2/cloudimages/action') =>
  gateway.app.inject({
    method: 'POST',
    url,
    headers: { 'x-auth-token': as, 'content-type': 'application/json' },
    payload,
  });

describe(ImageCreateService.name, () => {
  it('answers 200 with a job, and shows job and image at once (CRE-07, read your writes)', async () => {
    const response = await create({ ...BODY, image_tags: [{ key: 'env', value: 'prod' }] });
    expect(response.statusCode).toBe(200);
    const { job_id: id } = response.json<{ job_id: string }>();
    expect(id).toMatch(/^[0-9a-f]{32}$/);

    const job = await gateway.app.inject({
      url: `/v1/${gateway.identity.projectId}/jobs/${id}`,
      headers: { 'x-auth-token': token },
    });
    expect(job.json()).toMatchObject({
      status: 'INIT',
      job_type: 'imsImportImageJob',
      end_time: '',
      error_code: null,
      entities: { image_name: 'debian', process_percent: 0 },
      temporal_url: `http://127.0.0.1:8233/namespaces/default/workflows/${id}`,
    });
    const { entities } = job.json<{ entities: { image_id: string } }>();
    const list = await gateway.app.inject({
      url: `/v2/cloudimages?id=${entities.image_id}`,
      headers: { 'x-auth-token': token },
    });
    expect(list.json()).toMatchObject({
      images: [
        {
          status: 'queued',
          name: 'debian',
          min_disk: 10,
          tags: ['env=prod'],
          __data_origin: 'file,images:debian/12.qcow2',
          __description: 'golden',
        },
      ],
    });
  });

  it('records who asked, from where and by which request', async () => {
    const response = await create(BODY);
    const { job_id: id } = response.json<{ job_id: string }>();
    const [accepted] = await readStream(gateway.parts.db, jobStream(toJobId(id)));
    expect(accepted).toMatchObject({
      type: 'job.accepted',
      requestId: response.headers['x-request-id'],
      projectId: gateway.identity.projectId,
      actor: { kind: 'user', userName: 'alice', sourceIp: '127.0.0.1' },
      data: { request: BODY },
    });
  });

  it('writes the outbox row in the same transaction and hands it to the engine', async () => {
    const { job_id: id } = (await create(BODY)).json<{ job_id: string }>();
    const row = await gateway.parts.db
      .selectFrom('outbox')
      .selectAll()
      .where('workflow_id', '=', id)
      .executeTakeFirstOrThrow();
    expect(row).toMatchObject({ workflow_type: 'imageCreate', input: { jobId: id, imageName: 'debian' } });
    expect(gateway.handedToEngine.started).toContain(row.id);
  });

  it('takes the safe-mode twin alike', async () => {
    expect((await create(BODY, token, '/v2.1/cloudimages/action')).statusCode).toBe(200);
  });

  it.each([
    ['/v1/cloudimages/dataimages/action', {}, 'imsImportDataImageJob', 'DataImage'],
    ['/v2.1/cloudimages/dataimages/action', {}, 'imsImportDataImageJob', 'DataImage'],
    ['/v2/cloudimages/quickimport/action', { type: 'DataImage' }, 'imsImportImageJob', 'DataImage'],
    ['/v2.1/cloudimages/quickimport/action', { os_version: UBUNTU }, 'imsImportImageJob', 'FusionCompute'],
    ['/v2/cloudimages/action', { os_version: UBUNTU, is_quick_import: true }, 'imsImportImageJob', 'FusionCompute'],
  ])(
    '%s with %j: a job of its type and an image of its kind (CRE-14, FMT-03, IMG-10)',
    async (url, more, jobType, kind) => {
      const other = await gateway.anotherAccount();
      const answer = await create({ ...BODY, min_disk: 40, ...more }, other.token, url);
      expect(answer.statusCode).toBe(200);
      const { job_id: id } = answer.json<{ job_id: string }>();
      const headers = { 'x-auth-token': other.token };
      const job = await gateway.app.inject({ url: `/v1/${other.projectId}/jobs/${id}`, headers });
      expect(job.json()).toMatchObject({ status: 'INIT', job_type: jobType });
      const list = await gateway.app.inject({ url: `/v2/cloudimages?virtual_env_type=${kind}`, headers });
      expect(list.json()).toMatchObject({ images: [{ status: 'queued', __os_type: 'Linux', virtual_env_type: kind }] });
    },
  );

  it.each([
    ['/v1/cloudimages/dataimages/action', { min_disk: 39 }, 'IMG.0055'],
    ['/v1/cloudimages/dataimages/action', { min_disk: 2049 }, 'IMG.0055'],
    ['/v2.1/cloudimages/dataimages/action', { min_disk: 40, os_type: 'Other' }, 'IMG.0122'],
    ['/v1/cloudimages/dataimages/action', { min_disk: 'forty' }, 'IMG.0055'],
    ['/v1/cloudimages/dataimages/action', { min_disk: 40, name: ' ' }, 'IMG.0003'],
    ['/v2/cloudimages/quickimport/action', {}, 'IMG.0159'],
    ['/v2.1/cloudimages/quickimport/action', { type: 'IsoImage', os_version: UBUNTU }, 'IMG.0157'],
    ['/v2/cloudimages/quickimport/action', { type: 'DataImage', min_disk: 39 }, 'IMG.0055'],
    ['/v2/cloudimages/quickimport/action', { os_version: UBUNTU, license_type: 'byol' }, 'IMG.0001'],
    ['/v2/cloudimages/action', { is_quick_import: true }, 'IMG.0159'],
  ])('%s with %j: refused (CRE-15, FMT-03)', async (url, more, code) => {
    const answer = await create({ ...BODY, ...more }, token, url);
    expect([answer.statusCode, answer.json()]).toEqual([400, { error: expect.objectContaining({ code }) as object }]);
  });

  it.each([
    ['/v1/cloudimages/dataimages/action', 'ims:dataImages:create', {}, 200],
    ['/v1/cloudimages/dataimages/action', 'ims:serverImages:create', {}, 403],
    ['/v2/cloudimages/quickimport/action', 'ims:dataImages:create', { type: 'DataImage' }, 200],
    ['/v2/cloudimages/quickimport/action', 'ims:serverImages:create', { type: 'DataImage' }, 403],
    ['/v2.1/cloudimages/quickimport/action', 'ims:serverImages:create', { os_version: UBUNTU }, 200],
    ['/v2.1/cloudimages/quickimport/action', 'ims:dataImages:create', { os_version: UBUNTU }, 403],
  ])('%s for a caller with %s alone and %j: %d', async (url, permission, more, status) => {
    const other = await gateway.anotherAccount([permission]);
    const answer = await create({ ...BODY, min_disk: 40, ...more }, other.token, url);
    expect(answer.statusCode).toBe(status);
    if (status === 403) expect(answer.json()).toMatchObject({ error: { code: 'IMG.0026' } });
  });

  it('accepts a body signed as the SDKs sign it, byte for byte', async () => {
    const body = `${JSON.stringify(BODY)}\n`;
    const headers = signRequest(
      {
        method: 'POST',
        rawPath: '/v2/cloudimages/action',
        headers: { host: 'ims.test', 'content-type': 'application/json;charset=UTF-8' },
        body,
      },
      gateway.identity,
      systemClock.now(),
    );
    const signed = await gateway.app.inject({ method: 'POST', url: '/v2/cloudimages/action', headers, payload: body });
    expect(signed.statusCode).toBe(200);
    const altered = await gateway.app.inject({
      method: 'POST',
      url: '/v2/cloudimages/action',
      headers,
      payload: body.trim(),
    });
    expect([altered.statusCode, altered.json<{ error_code: string }>().error_code]).toEqual([401, 'APIGW.0301']);
  });

  it('never goes over the quota, however many ask at once (CRE-23, CRE-24)', async () => {
    const other = await gateway.anotherAccount();
    const answers = await Promise.all(Array.from({ length: 45 }, () => create(BODY, other.token)));
    const codes = answers.map((answer) =>
      answer.statusCode === 200 ? 'accepted' : answer.json<{ error: { code: string } }>().error.code,
    );
    expect(codes.filter((code) => code === 'accepted')).toHaveLength(40);
    expect(codes.filter((code) => code === 'IMG.0060')).toHaveLength(5);
    const quota = await gateway.app.inject({
      url: `/v1/${other.projectId}/cloudimages/quota`,
      headers: { 'x-auth-token': other.token },
    });
    expect(quota.json()).toEqual({
      quotas: { resources: [{ type: 'image', used: 40, quota: 50, min: 1, max: 1000 }] },
    });
  });

  it('leaves nothing behind when it refuses', async () => {
    const other = await gateway.anotherAccount();
    expect((await create({ ...BODY, name: 'x'.repeat(129) }, other.token)).json()).toMatchObject({
      error: { code: 'IMG.0002' },
    });
    const list = await gateway.app.inject({ url: '/v2/cloudimages', headers: { 'x-auth-token': other.token } });
    expect(list.json()).toEqual({ images: [] });
  });

  it('accepts the job while the engine does not answer', async () => {
    const engine = Promise.withResolvers<void>();
    const silent = await gatewayUnderTest({ jobs: { startNow: () => engine.promise, cancel: () => engine.promise } });
    try {
      const answer = await silent.app.inject({
        method: 'POST',
        url: '/v2/cloudimages/action',
        headers: { 'x-auth-token': await silent.tokenOf('acme', 'alice') },
        payload: BODY,
      });
      expect(answer.statusCode).toBe(200);
    } finally {
      engine.resolve();
      await silent.close();
    }
  });
});
