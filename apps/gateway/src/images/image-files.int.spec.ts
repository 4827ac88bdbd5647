import { createHash, randomBytes } from 'node:crypto';
import { imageId, imageStream, SYSTEM } from '@ims/contract';
import { inTransaction } from '@ims/db';
import { appendEvents } from '@ims/event-log';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { createJob, finishJob, type PublishedImage, publishImage } from '../testing/published-image';
import { ImageDeleteService } from './image-delete.service';
import { ImageFilesService } from './image-files.service';

const MIB = 1024 * 1024;

let gateway: GatewayUnderTest;
let token: string;
let image: PublishedImage;

const get = (path: string, headers: Record<string, string> = {}, as = token) =>
  gateway.app.inject({ url: path, headers: { 'x-auth-token': as, ...headers } });
const md5 = (bytes: Buffer): string => createHash('md5').update(bytes).digest('hex');

beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
  // Data, a hole of whole segments, data that ends inside a segment.
  const bytes = Buffer.concat([randomBytes(3 * MIB), Buffer.alloc(6 * MIB), randomBytes(MIB)]);
  image = await publishImage(gateway, token, bytes);
});
afterAll(() => gateway.close());

describe(ImageFilesService.name, () => {
  it('serves the guest bytes with ?format=raw', async () => {
    const response = await get(`/v2/images/${image.id}/file?format=raw`);
    expect(response.statusCode).toBe(200);
    expect(response.headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-length': String(image.bytes.length),
      'accept-ranges': 'bytes',
    });
    expect(md5(response.rawPayload)).toBe(md5(image.bytes));
  });

  it('serves ZVHD2 by default, as disk_format says, with the length the image shows', async () => {
    const [file, shown] = [await get(`/v2/images/${image.id}/file`), await get(`/v2/images/${image.id}`)];
    expect(shown.json()).toMatchObject({ disk_format: 'zvhd2', size: image.disk.fileBytes, status: 'active' });
    expect(file.rawPayload).toHaveLength(image.disk.fileBytes);
    expect(file.headers['content-length']).toBe(String(image.disk.fileBytes));
  });

  it('has no digest header before the digest is known, and the true one after (ims-api 12.8)', async () => {
    const before = await get(`/v2/images/${image.id}/file`);
    expect(before.headers).not.toHaveProperty('content-md5');
    const digests = {
      md5: md5(before.rawPayload),
      sha512: createHash('sha512').update(before.rawPayload).digest('hex'),
    };
    await inTransaction(gateway.parts.db, (trx) =>
      appendEvents(trx, { projectId: gateway.identity.projectId, actor: SYSTEM }, [
        {
          type: 'image.digested',
          stream: imageStream(imageId(image.id)),
          key: 'digested',
          data: { ...digests, sizeBytes: before.rawPayload.length },
        },
      ]),
    );
    const after = await get(`/v2/images/${image.id}/file`);
    expect(after.headers['content-md5']).toBe(md5(after.rawPayload));
    expect((await get(`/v2/images/${image.id}`)).json()).toMatchObject({
      checksum: digests.md5,
      os_hash_algo: 'sha512',
      os_hash_value: digests.sha512,
    });
    // The digest is that of the ZVHD2 file: on other bytes clients would take it for damage.
    expect((await get(`/v2/images/${image.id}/file?format=raw`)).headers).not.toHaveProperty('content-md5');
    expect((await get(`/v2/images/${image.id}/file`, { range: 'bytes=0-9' })).headers).not.toHaveProperty(
      'content-md5',
    );
  });

  it.each([
    ['bytes=0-99', 0, 100],
    [`bytes=${3 * MIB - 10}-${3 * MIB + 9}`, 3 * MIB - 10, 20],
    ['bytes=-7', 10 * MIB - 7, 7],
    [`bytes=${9 * MIB}-`, 9 * MIB, MIB],
  ])('serves the range %s and nothing else', async (range, offset, length) => {
    const response = await get(`/v2/images/${image.id}/file?format=raw`, { range });
    expect(response.statusCode).toBe(206);
    expect(response.headers).toMatchObject({
      'content-length': String(length),
      'content-range': `bytes ${offset}-${offset + length - 1}/${image.bytes.length}`,
    });
    expect(response.rawPayload.equals(image.bytes.subarray(offset, offset + length))).toBe(true);
  });

  it('answers 416 with the size when no byte is in the range', async () => {
    const response = await get(`/v2/images/${image.id}/file?format=raw`, { range: `bytes=${10 * MIB}-` });
    expect(response.statusCode).toBe(416);
    expect(response.headers['content-range']).toBe(`bytes */${10 * MIB}`);
  });

  it('serves the whole file when it is another one than the client began with', async () => {
    const { etag } = (await get(`/v2/images/${image.id}/file?format=raw`, { range: 'bytes=0-0' })).headers;
    const same = await get(`/v2/images/${image.id}/file?format=raw`, { range: 'bytes=0-0', 'if-range': String(etag) });
    const other = await get(`/v2/images/${image.id}/file?format=raw`, { range: 'bytes=0-0', 'if-range': '"other"' });
    expect([same.statusCode, other.statusCode]).toEqual([206, 200]);
  });

  it('answers HEAD with the length and no bytes', async () => {
    const response = await gateway.app.inject({
      method: 'HEAD',
      url: `/v2/images/${image.id}/file`,
      headers: { 'x-auth-token': token },
    });
    expect([response.statusCode, response.headers['content-length'], response.rawPayload.length]).toEqual([
      200,
      String(image.disk.fileBytes),
      0,
    ]);
  });

  it('refuses a form it does not have with IMG.0072', async () => {
    const response = await get(`/v2/images/${image.id}/file?format=floppy`);
    expect([response.statusCode, response.headers['content-type']]).toEqual([400, 'text/html; charset=UTF-8']);
    expect(response.body).toContain('IMG.0072');
  });

  it('answers 204 while an image has no bytes', async () => {
    const queued = await createJob(gateway, token);
    expect((await get(`/v2/images/${queued.imageId}/file`)).statusCode).toBe(204);
  });

  it('knows no image of another project', async () => {
    const other = await gateway.anotherAccount();
    for (const path of [`/v2/images/${image.id}`, `/v2/images/${image.id}/file`]) {
      expect((await get(path, {}, other.token)).statusCode).toBe(404);
    }
  });
});

describe(ImageDeleteService.name, () => {
  const remove = (id: string, as = token, payload?: object) =>
    gateway.app.inject({
      method: 'DELETE',
      url: `/v2/images/${id}`,
      headers: { 'x-auth-token': as },
      ...(payload === undefined ? {} : { payload }),
    });
  const usedQuota = async (): Promise<number> =>
    (await get('/v1/cloudimages/quota')).json<{ quotas: { resources: [{ used: number }] } }>().quotas.resources[0].used;

  it('refuses an image in creation with 409 IMG.0090', async () => {
    const queued = await createJob(gateway, token);
    const response = await remove(queued.imageId);
    expect(response.statusCode).toBe(409);
    expect(response.body).toContain('IMG.0090');
  });

  it('refuses an active image whose job has not ended, so that no usage is opened for what is gone (ims-api 12.6)', async () => {
    const young = await publishImage(gateway, token, randomBytes(MIB), { until: 'publish' });
    const early = await remove(young.id);
    expect([early.statusCode, early.body]).toEqual([409, expect.stringContaining('IMG.0090')]);
    expect((await get(`/v2/images/${young.id}/file`)).statusCode).toBe(200);
    await finishJob(gateway, young);
    expect((await remove(young.id)).statusCode).toBe(204);
  });

  it('deletes before or after the last step of the job, never across it', async () => {
    const used = await usedQuota();
    for (let round = 0; round < 5; round += 1) {
      const young = await publishImage(gateway, token, randomBytes(MIB), { until: 'publish' });
      const [answer] = await Promise.all([remove(young.id), finishJob(gateway, young)]);
      expect([204, 409]).toContain(answer.statusCode);
      if (answer.statusCode === 409) expect((await remove(young.id)).statusCode).toBe(204);
      const open = await gateway.parts.db
        .selectFrom('usage_record')
        .select('id')
        .where('image_id', '=', young.id)
        .where('closed_at', 'is', null)
        .execute();
      expect(open).toEqual([]);
    }
    expect(await usedQuota()).toBe(used);
  });

  it('does not delete for another project', async () => {
    const other = await gateway.anotherAccount();
    expect((await remove(image.id, other.token)).statusCode).toBe(404);
    expect((await get(`/v2/images/${image.id}`)).statusCode).toBe(200);
  });

  it('removes the image from every list at once, gives the quota back, closes the usage and frees the bytes', async () => {
    const doomed = await publishImage(gateway, token, randomBytes(2 * MIB));
    const before = await usedQuota();
    const answers = await Promise.all([remove(doomed.id), remove(doomed.id, token, { delete_backup: true })]);
    for (const { statusCode } of answers) expect([204, 404]).toContain(statusCode);
    expect(answers.map(({ statusCode }) => statusCode)).toContain(204);

    expect((await get(`/v2/images/${doomed.id}`)).statusCode).toBe(404);
    expect((await get(`/v2/images/${doomed.id}/file`)).statusCode).toBe(404);
    expect((await get(`/v2/cloudimages?id=${doomed.id}`)).json()).toEqual({ images: [] });
    expect(await usedQuota()).toBe(before - 1);
    const usage = await gateway.parts.db
      .selectFrom('usage_record')
      .selectAll()
      .where('image_id', '=', doomed.id)
      .executeTakeFirstOrThrow();
    expect(usage.closed_at).not.toBeNull();
    // Its bytes are the collector's from now on; they stay for the grace of readers under way.
    const manifest = await gateway.parts.db
      .selectFrom('manifest')
      .selectAll()
      .where('hash', '=', doomed.disk.manifestHash)
      .executeTakeFirstOrThrow();
    expect(manifest).toMatchObject({ published: false, released_at: expect.any(Date) });
    expect((await remove(doomed.id)).statusCode).toBe(404);

    // What follows outside of the transaction is one job, handed to the engine once; nobody calls it back.
    const jobs = await gateway.parts.db
      .selectFrom('job')
      .select(['id', 'type', 'status', 'steps'])
      .where('image_id', '=', doomed.id)
      .where('saga', '=', 'image-delete')
      .execute();
    const id = doomed.id.replaceAll('-', '');
    expect(jobs).toEqual([{ id, type: 'imsDeleteImageJob', status: 'INIT', steps: ['release-origin', 'drop-staged'] }]);
    const outbox = await gateway.parts.db
      .selectFrom('outbox')
      .select(['id', 'workflow_type', 'input'])
      .where('workflow_id', '=', id)
      .execute();
    expect(outbox).toHaveLength(1);
    expect(outbox[0]).toMatchObject({ workflow_type: 'imageDelete', input: { imageId: doomed.id, backup: null } });
    expect(gateway.handedToEngine.started).toContain(outbox[0]?.id);
    const cancelled = await gateway.app.inject({
      method: 'POST',
      url: `/v1/${doomed.projectId}/jobs/${id}/cancel`,
      headers: { 'x-auth-token': token },
    });
    expect([cancelled.statusCode, cancelled.body]).toEqual([409, expect.stringContaining('IMG.0105')]);
  });

  it('takes an empty body under the content type the SDKs send (ims-api 12.6)', async () => {
    const response = await gateway.app.inject({
      method: 'DELETE',
      url: '/v2/images/00000000-0000-4000-8000-000000000000',
      headers: { 'x-auth-token': token, 'content-type': 'application/json;charset=UTF-8' },
    });
    expect(response.statusCode).toBe(404);
  });
});
