import { randomUUID } from 'node:crypto';
import { imageId, imageStream, SYSTEM } from '@ims/contract';
import { inTransaction } from '@ims/db';
import { appendEvents, readStream } from '@ims/event-log';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { ImageMetadataService } from './image-metadata.service';
import { ImageUploadService } from './image-upload.service';

let gateway: GatewayUnderTest;
let token: string;

beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
});
afterAll(() => gateway.close());

const create = (payload: object, as = token) =>
  gateway.app.inject({ method: 'POST', url: '/v2/images', headers: { 'x-auth-token': as }, payload });
const register = (id: string, as = token, payload: object = { image_url: 'images:db.qcow2' }) =>
  gateway.app.inject({
    method: 'PUT',
    url: `/v1/cloudimages/${id}/upload`,
    headers: { 'x-auth-token': as },
    payload,
  });
const upload = (id: string, as = token) =>
  gateway.app.inject({
    method: 'PUT',
    url: `/v2/images/${id}/file`,
    headers: { 'x-auth-token': as, 'content-type': 'application/octet-stream' },
    payload: Buffer.alloc(512),
  });
const quota = () =>
  gateway.parts.db
    .selectFrom('quota')
    .select(['used', 'reserved'])
    .where('project_id', '=', gateway.identity.projectId)
    .where('resource', '=', 'image')
    .executeTakeFirst();

describe(ImageMetadataService.name, () => {
  it('answers 201 with the image and where it is, and takes its place in the quota (ims-api 12.3, CRE-23)', async () => {
    const before = (await quota())?.reserved ?? 0;
    const answer = await create({
      name: 'img1',
      __os_version: 'Ubuntu 18.04 server 64bit',
      container_format: 'bare',
      disk_format: 'qcow2',
      min_disk: 40,
      min_ram: 1024,
      tags: ['test=1'],
      visibility: 'private',
      protected: false,
      'owner_specified.openstack.sha256': 'e3b0c442',
    });
    const image = answer.json<Record<string, unknown>>();
    expect([answer.statusCode, answer.headers.location]).toEqual([201, `/v2/images/${String(image['id'])}`]);
    expect(image).toMatchObject({
      name: 'img1',
      status: 'queued',
      visibility: 'private',
      owner: gateway.identity.projectId,
      protected: false,
      disk_format: 'qcow2',
      min_disk: 40,
      min_ram: 1024,
      tags: ['test=1'],
      __image_size: '0',
      __imagetype: 'private',
      __root_origin: 'file',
      __os_type: 'Linux',
      __platform: 'Ubuntu',
      'owner_specified.openstack.sha256': 'e3b0c442',
    });
    expect(image).not.toHaveProperty('checksum');
    expect((await quota())?.reserved).toBe(before + 1);
    const shown = await gateway.app.inject({ url: answer.headers.location ?? '', headers: { 'x-auth-token': token } });
    expect(shown.json()).toEqual(image);
  });

  it('takes an id that the caller has chosen, once and for all projects (ims-api 12.3)', async () => {
    const id = randomUUID();
    expect((await create({ id: id.toUpperCase() })).json()).toMatchObject({ id });
    expect((await create({ id })).statusCode).toBe(409);
    const other = await gateway.anotherAccount();
    expect((await create({ id }, other.token)).statusCode).toBe(409);
    expect((await create({ id: 'mine' })).statusCode).toBe(400);
    expect(
      (await gateway.app.inject({ url: `/v2/images/${id}`, headers: { 'x-auth-token': other.token } })).statusCode,
    ).toBe(404);
  });

  it('of two calls with one id at once makes one image and one reservation', async () => {
    const id = randomUUID();
    const before = (await quota())?.reserved ?? 0;
    const answers = await Promise.all([1, 2, 3].map((n) => create({ id, name: `n${n}` })));
    expect(answers.map(({ statusCode }) => statusCode).sort()).toEqual([201, 409, 409]);
    expect((await quota())?.reserved).toBe(before + 1);
  });

  it('answers in the shape of OpenStack', async () => {
    const refused = await create({ status: 'active' });
    expect([refused.statusCode, refused.headers['content-type']]).toEqual([403, 'text/html; charset=UTF-8']);
    expect((await create({ any: 1 })).statusCode).toBe(400);
  });

  it('a protected image is not deleted, one that waits is, and gives its place back', async () => {
    const { id } = (await create({ protected: true })).json<{ id: string }>();
    const remove = (image: string) =>
      gateway.app.inject({ method: 'DELETE', url: `/v2/images/${image}`, headers: { 'x-auth-token': token } });
    expect((await remove(id)).statusCode).toBe(403);
    const { id: free } = (await create({})).json<{ id: string }>();
    const before = (await quota())?.reserved ?? 0;
    expect((await remove(free)).statusCode).toBe(204);
    expect((await quota())?.reserved).toBe(before - 1);
  });
});

describe(ImageUploadService.name, () => {
  it('accepts one registration for an image, and none when it is being deleted at the same time (ims-api 6.6)', async () => {
    const { id } = (await create({ disk_format: 'qcow2' })).json<{ id: string }>();
    const answers = await Promise.all([register(id), register(id), register(id)]);
    expect(answers.map(({ statusCode }) => statusCode).sort()).toEqual([200, 400, 400]);
    const refusal = answers.find(({ statusCode }) => statusCode === 400);
    expect(refusal?.json()).toMatchObject({ error: { code: 'IMG.0046' } });
    const jobs = await gateway.parts.db.selectFrom('job').select(['type', 'id']).where('image_id', '=', id).execute();
    expect(jobs).toMatchObject([{ type: 'imsNativeImportImageJob' }]);
    const remove = await gateway.app.inject({
      method: 'DELETE',
      url: `/v2/images/${id}`,
      headers: { 'x-auth-token': token },
    });
    expect(remove.statusCode).toBe(409);

    const { id: racing } = (await create({ disk_format: 'qcow2' })).json<{ id: string }>();
    const [registered, removed] = await Promise.all([
      register(racing),
      gateway.app.inject({ method: 'DELETE', url: `/v2/images/${racing}`, headers: { 'x-auth-token': token } }),
    ]);
    // Whoever comes first has it: never both.
    expect([
      [200, 409],
      [404, 204],
    ]).toContainEqual([registered.statusCode, removed.statusCode]);
  });

  it('refuses a registration without a file', async () => {
    const { id } = (await create({})).json<{ id: string }>();
    expect((await register(id, token, {})).json()).toMatchObject({ error: { code: 'IMG.0017' } });
    expect((await register('nope')).statusCode).toBe(404);
  });

  it('who may register may cancel, and nobody else', async () => {
    const owner = await gateway.anotherAccount();
    const permit = (permissions: string[]) =>
      gateway.parts.db.updateTable('iam_user').set({ permissions }).where('id', '=', owner.userId).execute();
    const { id } = (await create({}, owner.token)).json<{ id: string }>();
    const { job_id: job } = (await register(id, owner.token)).json<{ job_id: string }>();
    const cancel = () =>
      gateway.app.inject({
        method: 'POST',
        url: `/v1/${owner.projectId}/jobs/${job}/cancel`,
        headers: { 'x-auth-token': owner.token },
      });
    await permit(['ims:serverImages:create']);
    expect((await cancel()).statusCode).toBe(403);
    await permit(['ims:images:upload', 'ims:serverImages:create']);
    expect((await cancel()).statusCode).toBe(202);
  });

  it.each([
    ['POST', '/v2/images', ['ims:images:create']],
    ['PUT', '/v1/cloudimages/{id}/upload', ['ims:images:upload']],
    ['PUT', '/v2/images/{id}/file', ['ims:images:get', 'ims:images:update', 'ims:images:upload']],
  ] as const)('%s %s: no token 401, lacking a permission 403, foreign ids unknown', async (method, path, needed) => {
    const { id } = (await create({})).json<{ id: string }>();
    const url = path.replace('{id}', id);
    const headers = { 'content-type': path.endsWith('/file') ? 'application/octet-stream' : 'application/json' };
    const payload = path.endsWith('/file') ? Buffer.alloc(512) : '{}';
    expect((await gateway.app.inject({ method, url, headers, payload })).statusCode).toBe(401);
    for (const missing of needed) {
      const other = await gateway.anotherAccount(['ims:images:list', ...needed.filter((each) => each !== missing)]);
      const as = { ...headers, 'x-auth-token': other.token };
      const answer = await gateway.app.inject({ method, url, headers: as, payload });
      expect(answer.statusCode).toBe(403);
      expect(answer.body).toContain('IMG.0026');
    }
    if (!path.includes('{id}')) return;
    const other = await gateway.anotherAccount([...needed]);
    const answer = path.endsWith('/file') ? await upload(id, other.token) : await register(id, other.token);
    expect(answer.statusCode).toBe(404);
    const events = await readStream(gateway.parts.db, imageStream(imageId(id)));
    expect(events.map(({ type }) => type)).toEqual(['image.queued']);
    expect(await gateway.parts.staged.findOfImage(id)).toBeUndefined();
  });

  it('takes no bytes for an image that arrives in pieces already', async () => {
    const { id } = (await create({})).json<{ id: string }>();
    await inTransaction(gateway.parts.db, (trx) =>
      appendEvents(trx, { projectId: gateway.identity.projectId, actor: SYSTEM }, [
        { type: 'image.uploading', stream: imageStream(imageId(id)), key: 'uploading', data: { uploadId: 'u' } },
      ]),
    );
    expect((await upload(id)).statusCode).toBe(409);
  });
});
