import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { sql } from 'kysely';
import { createJob, publishImage, type PublishedImage } from '../testing/published-image';

describe('POST /v1/cloudimages/{image_id}/file (ims-api 6.7)', () => {
  let gateway: GatewayUnderTest;
  let token: string;
  let image: PublishedImage;
  let buckets: string;

  beforeAll(async () => {
    gateway = await gatewayUnderTest();
    token = await gateway.tokenOf('acme', 'alice');
    buckets = join(dirname(gateway.parts.config.cloudDirectory), 'buckets');
    await mkdir(join(buckets, 'images'), { recursive: true });
    image = await publishImage(gateway, token, Buffer.alloc(3 * 2 ** 20, 'bytes of a disk '));
  });
  afterAll(() => gateway.close());

  const BODY = { bucket_url: 'images:out.qcow2', file_format: 'qcow2' };
  const send = (id: string, body: object = BODY, by: string | undefined = token, version = 'v1') =>
    gateway.app.inject({
      method: 'POST',
      url: `/${version}/cloudimages/${id}/file`,
      headers: by === undefined ? {} : { 'x-auth-token': by },
      payload: body,
    });
  const codeOf = (answer: { json(): unknown }): unknown => (answer.json() as { error?: { code?: string } }).error?.code;

  it.each(['v1', 'v2.1'])('is for callers who may export, in their own project (%s)', async (version) => {
    const none = await gateway.app.inject({
      method: 'POST',
      url: `/${version}/cloudimages/${image.id}/file`,
      payload: BODY,
    });
    expect(none.statusCode).toBe(401);
    const weak = await gateway.anotherAccount(['ims:images:get']);
    const refused = await send(image.id, BODY, weak.token, version);
    expect([refused.statusCode, codeOf(refused)]).toEqual([403, 'IMG.0026']);
    const foreign = await gateway.anotherAccount();
    const unknown = await send(image.id, BODY, foreign.token, version);
    expect([unknown.statusCode, codeOf(unknown)]).toEqual([404, 'IMG.0144']);
  });

  it.each([
    [{ ...BODY, file_format: 'vhdx' }, 'IMG.0072'],
    [{ ...BODY, bucket_url: ':x' }, 'IMG.0068'],
    [{ ...BODY, bucket_url: 'images:' }, 'IMG.0073'],
    [{ ...BODY, bucket_url: 'nowhere:x' }, 'IMG.0069'],
    [{ ...BODY, bucket_url: 'images:taken' }, 'IMG.0070'],
    [{ ...BODY, bucket_url: 'images:summed' }, 'IMG.0070'],
    [{ ...BODY, bucket_url: 'cold-bucket:x' }, 'IMG.0069'],
    [{ ...BODY, bucket_url: 'far-bucket:x' }, 'IMG.0058'],
  ])('refuses %j with %s (EXP-02, EXP-07)', async (body, code) => {
    await writeFile(join(buckets, 'images', 'taken'), 'mine');
    await writeFile(join(buckets, 'images', 'summed.sha256'), 'mine');
    for (const [name, facts] of [
      ['cold-bucket', { storageClass: 'COLD' }],
      ['far-bucket', { region: 'region-2' }],
    ] as const) {
      await mkdir(join(buckets, name), { recursive: true });
      await writeFile(join(buckets, name, '.ims-bucket.json'), JSON.stringify(facts));
    }
    const answer = await send(image.id, body);
    expect([answer.statusCode, codeOf(answer)]).toEqual([400, code]);
  });

  it('refuses an image that is still being made (EXP-05)', async () => {
    const { imageId } = await createJob(gateway, token);
    expect(codeOf(await send(imageId))).toBe('IMG.0046');
  });

  it('exports no encrypted image quickly, and none without its key (EXP-06, ims-api 6.1)', async () => {
    const { token: own, projectId } = await gateway.anotherAccount(['ims:*:*', 'kms:cmk:*']);
    const kms = (operation: string, payload: object) =>
      gateway.app.inject({
        method: 'POST',
        url: `/v1.0/${projectId}/kms/${operation}`,
        headers: { 'x-auth-token': own },
        payload,
      });
    const { key_info: key } = (await kms('create-key', { key_alias: 'exported' })).json<{
      key_info: { key_id: string };
    }>();
    const { id } = await publishImage(gateway, own, Buffer.alloc(2 ** 20, 'bytes'));
    const says = { __system__encrypted: '1', __system__cmkid: key.key_id };
    await gateway.parts.db
      .updateTable('image')
      .set({ attributes: sql`attributes || ${JSON.stringify(says)}::jsonb` })
      .where('id', '=', id)
      .execute();
    expect(codeOf(await send(id, { bucket_url: 'images:quick', is_quick_export: true }, own))).toBe('IMG.0105');
    // In safe mode the caller's own rights count, which are not those to open data keys.
    expect(codeOf(await send(id, BODY, own, 'v2.1'))).toBe('IMG.0099');
    await kms('disable-key', key);
    expect(codeOf(await send(id, BODY, own))).toBe('IMG.0097');
    await kms('enable-key', key);
    expect((await send(id, BODY, own)).statusCode).toBe(200);
  });

  it('accepts one export of an image at a time, of two calls at once one (IMG.0148), and forbids nothing else', async () => {
    const answers = await Promise.all([
      send(image.id, { ...BODY, bucket_url: 'images:a' }),
      send(image.id, { ...BODY, bucket_url: 'images:b' }),
    ]);
    expect(answers.map(({ statusCode }) => statusCode).toSorted()).toEqual([200, 400]);
    expect(answers.map(codeOf)).toContain('IMG.0148');
    const accepted = answers.find(({ statusCode }) => statusCode === 200);
    const { job_id: id } = accepted?.json<{ job_id: string }>() ?? { job_id: '' };
    const headers = { 'x-auth-token': token };
    const job = (await gateway.app.inject({ url: `/v1/cloudimages/job/${id}`, headers })).json<{ entities: object }>();
    expect(job).toMatchObject({
      job_type: 'imsNativeExportImageJob',
      status: 'INIT',
      entities: { image_id: image.id },
    });
    expect(job.entities).not.toHaveProperty('image_name');
    // The image can be deleted meanwhile: what is read is held.
    const gone = await gateway.app.inject({ method: 'DELETE', url: `/v2/images/${image.id}`, headers });
    expect(gone.statusCode).toBe(204);
    // Cancelling needs what starting did.
    const url = `/v1/${image.projectId}/jobs/${id}/cancel`;
    expect((await gateway.app.inject({ method: 'POST', url, headers })).statusCode).toBe(202);
  });
});
