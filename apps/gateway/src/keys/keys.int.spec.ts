import { hash, randomBytes, randomUUID } from 'node:crypto';
import { noise } from '@ims/testing';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { publishImage, type PublishedImage } from '../testing/published-image';
import { ImageKeys } from './image-keys';
import { KeysController } from './keys.controller';

let gateway: GatewayUnderTest;
let token: string;
let project: string;
beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
  project = gateway.identity.projectId;
});
afterAll(() => gateway.close());

const post = (url: string, payload: object, as = token) =>
  gateway.app.inject({ method: 'POST', url, headers: as === '' ? {} : { 'x-auth-token': as }, payload });
const kms = (operation: string, payload: object = {}, as = token, of = project) =>
  post(`/v1.0/${of}/kms/${operation}`, payload, as);
const wrapping = (length: number): object => {
  const key = randomBytes(length);
  const plain_text = Buffer.concat([key, hash('sha256', key, 'buffer')]).toString('hex');
  return { key_id: randomUUID(), plain_text, datakey_plain_length: String(length) };
};
const keyCode = (answer: { json(): unknown }) =>
  (answer.json() as { error?: { error_code?: string } }).error?.error_code;
const code = (answer: { json(): unknown }) => (answer.json() as { error?: { code?: string } }).error?.code;
const aKey = async (): Promise<string> => {
  const answer = await kms('create-key', { key_alias: `key-${randomUUID()}` });
  return answer.json<{ key_info: { key_id: string } }>().key_info.key_id;
};

describe(KeysController.name, () => {
  it('makes, shows and lists keys in the documented shapes (ENC-01)', async () => {
    const id = await aKey();
    const { key_info: info } = (await kms('describe-key', { key_id: id })).json<{ key_info: Record<string, string> }>();
    expect(info).toMatchObject({
      key_id: id,
      key_state: '2',
      key_spec: 'AES_256',
      default_key_flag: '0',
      origin: 'kms',
    });
    expect(Object.values(info).every((value) => typeof value === 'string')).toBe(true);
    expect(info['creation_date']).toMatch(/^\d{13}$/);
    await aKey();
    const first = await kms('list-keys', { limit: '1' });
    expect(first.json()).toMatchObject({ truncated: 'true', keys: [expect.any(String)] });
    const { next_marker: marker } = first.json<{ next_marker: string }>();
    const second = await kms('list-keys', { limit: '1', marker });
    expect(second.json<{ keys: string[] }>().keys).not.toContain(marker);
    expect((await kms('list-keys', { key_state: '5' })).json()).toMatchObject({ keys: [], truncated: 'false' });
  });

  it('switches keys, and says with which code a disabled one is refused (ENC-05)', async () => {
    const id = await aKey();
    expect((await kms('disable-key', { key_id: id })).json()).toEqual({ key_info: { key_id: id, key_state: '3' } });
    const refused = await kms('create-datakey', { key_id: id });
    expect([refused.statusCode, keyCode(refused)]).toEqual([400, 'KMS.0209']);
    expect((await kms('enable-key', { key_id: id })).json()).toEqual({ key_info: { key_id: id, key_state: '2' } });
    const scheduled = await kms('schedule-key-deletion', { key_id: id, pending_days: '7' });
    expect(scheduled.json()).toEqual({ key_id: id, key_state: '4' });
    expect(keyCode(await kms('create-datakey', { key_id: id }))).toBe('KMS.0210');
    expect((await kms('cancel-key-deletion', { key_id: id })).json()).toEqual({ key_id: id, key_state: '3' });
  });

  it('makes data keys and opens them by the same context', async () => {
    const id = await aKey();
    const context = { 'ims:image': 'a' };
    const made = (await kms('create-datakey', { key_id: id, encryption_context: context })).json<{
      plain_text: string;
      cipher_text: string;
    }>();
    expect(made.plain_text).toMatch(/^[0-9a-f]{64}$/);
    const open = (more: object) =>
      kms('decrypt-datakey', { key_id: id, cipher_text: made.cipher_text, datakey_cipher_length: '32', ...more });
    const opened = await open({ encryption_context: context });
    expect(opened.json()).toMatchObject({ data_key: made.plain_text, datakey_length: '32' });
    expect(keyCode(await open({}))).toBe('KMS.2201');
    expect(keyCode(await open({ encryption_context: context, datakey_cipher_length: '31' }))).toBe('KMS.1901');
    const short = await kms('create-datakey', { key_id: id, key_spec: 'AES_256', datakey_length: '128' });
    expect(short.json<{ plain_text: string }>().plain_text).toHaveLength(32);
    const empty = await kms('create-datakey', { key_id: id, key_spec: '', datakey_length: '' });
    expect(empty.json<{ plain_text: string }>().plain_text).toHaveLength(64);
    const hidden = await kms('create-datakey-without-plaintext', { key_id: id });
    expect(Object.keys(hidden.json<object>()).sort()).toEqual(['cipher_text', 'key_id']);
  });

  it('wraps a data key that comes with its digest (the vector of backends C1)', async () => {
    const id = await aKey();
    const zeros = '00'.repeat(64);
    const digest = 'F5A5FD42D16A20302798EF6ED309979B43003D2320D9F0E8EA9831A92759FB4B';
    const body = { key_id: id, plain_text: zeros + digest, datakey_plain_length: '64' };
    const wrapped = (await kms('encrypt-datakey', body)).json<{ cipher_text: string }>();
    const opened = await kms('decrypt-datakey', {
      key_id: id,
      cipher_text: wrapped.cipher_text.toUpperCase(),
      datakey_cipher_length: '64',
    });
    expect(opened.json()).toEqual({ data_key: zeros, datakey_length: '64', datakey_dgst: digest.toLowerCase() });
    const wrong = { ...body, plain_text: zeros + '00'.repeat(32) };
    expect(keyCode(await kms('encrypt-datakey', wrong))).toBe('KMS.2103');
    expect(keyCode(await kms('encrypt-datakey', { ...body, datakey_plain_length: '63' }))).toBe('KMS.1901');
  });

  it.each<[string, string, object]>([
    ['KMS.0204', 'create-key', {}],
    ['KMS.0308', 'create-key', { key_alias: 'a b' }],
    ['KMS.0308', 'create-key', { key_alias: 'a', origin: 'external' }],
    ['KMS.1901', 'encrypt-datakey', wrapping(1025)],
    ['KMS.0205', 'describe-key', { key_id: 'nonsense' }],
    ['KMS.0205', 'describe-key', {}],
    ['KMS.0205', 'enable-key', { key_id: randomUUID() }],
    ['KMS.0308', 'list-keys', { limit: '0' }],
    ['KMS.1401', 'schedule-key-deletion', { key_id: randomUUID(), pending_days: 'soon' }],
    ['KMS.0308', 'create-datakey', { key_id: randomUUID(), datakey_length: 'long' }],
    ['KMS.1901', 'create-datakey', { key_id: randomUUID(), datakey_length: '12' }],
    ['KMS.0208', 'create-datakey', { key_id: randomUUID(), encryption_context: { a: 1 } }],
    ['KMS.0308', 'decrypt-datakey', { key_id: randomUUID(), cipher_text: 'xy', datakey_cipher_length: '1' }],
  ])('refuses with %s what is wrong with %s %j', async (expected, operation, body) => {
    const answer = await kms(operation, body);
    expect([answer.statusCode, keyCode(answer)]).toEqual([400, expected]);
  });

  it('lets in nobody without credentials or rights, and knows nothing of another tenant', async () => {
    const id = await aKey();
    expect((await kms('list-keys', {}, '')).statusCode).toBe(401);
    const weak = await gateway.anotherAccount(['ims:images:list']);
    expect((await kms('list-keys', {}, weak.token, weak.projectId)).statusCode).toBe(403);
    const stranger = await gateway.anotherAccount();
    expect(keyCode(await kms('describe-key', { key_id: id }, stranger.token, stranger.projectId))).toBe('KMS.0205');
    expect((await kms('describe-key', { key_id: id }, stranger.token)).statusCode).toBeGreaterThanOrEqual(400);
  });
});

describe(ImageKeys.name, () => {
  let image: PublishedImage;
  beforeAll(async () => {
    image = await publishImage(gateway, token, noise('image', 2 ** 20));
  });
  const copy = (payload: object = {}, { id = image.id, as = token, version = 'v1' } = {}) =>
    post(`/${version}/cloudimages/${id}/copy`, { name: 'a copy', ...payload }, as);
  const jobOf = async (answer: { json(): unknown }) => {
    const { job_id: id } = answer.json() as { job_id: string };
    const job = await gateway.app.inject({ url: `/v1/cloudimages/job/${id}`, headers: { 'x-auth-token': token } });
    const started = await gateway.parts.db.selectFrom('outbox').selectAll().where('workflow_id', '=', id).execute();
    return { job: job.json<{ entities: { image_id: string } }>(), started };
  };
  const shown = async (id: string) =>
    (await gateway.app.inject({ url: `/v2/images/${id}`, headers: { 'x-auth-token': token } })).json<object>();

  it('accepts a copy under a key, whose job names the new image (REP-01)', async () => {
    const key = await aKey();
    const answer = await copy({ cmk_id: key });
    expect(answer.statusCode).toBe(200);
    const { job, started } = await jobOf(answer);
    expect(job).toMatchObject({
      status: 'INIT',
      job_type: 'imsCopyImageInRegionJob',
      entities: { image_name: 'a copy' },
    });
    expect(started).toMatchObject([{ workflow_type: 'imageCopy', input: { sourceImageId: image.id, cmkId: key } }]);
    expect(job.entities.image_id).not.toBe(image.id);
    expect(await shown(job.entities.image_id)).toMatchObject({
      status: 'queued',
      __system__encrypted: '1',
      __system__cmkid: key,
      __lazyloading: 'true',
    });
  });

  it('takes as many of the copies that race as the quota has room for (CRE-23)', async () => {
    const owner = await gateway.anotherAccount();
    const source = await publishImage(gateway, owner.token, noise('raced', 2 ** 20));
    const quota = gateway.parts.db.updateTable('quota').where('project_id', '=', owner.projectId);
    // Two beside the source.
    await quota.where('resource', '=', 'image').set({ quota_limit: 3 }).execute();
    const race = Array.from({ length: 8 }, (_, n) =>
      post(`/v1/cloudimages/${source.id}/copy`, { name: `copy-${n}` }, owner.token),
    );
    const answers = await Promise.all(race);
    expect(answers.filter(({ statusCode }) => statusCode === 200)).toHaveLength(2);
    const refused = answers.filter(({ statusCode }) => statusCode !== 200);
    expect(new Set(refused.map(code))).toEqual(new Set(['IMG.0015']));
  });

  it('accepts an import under a key, and refuses a change of it (ENC-02, ENC-03)', async () => {
    const key = await aKey();
    const made = await post('/v2/cloudimages/action', {
      name: 'encrypted',
      image_url: 'images:disk.raw',
      min_disk: 10,
      cmk_id: key,
    });
    const { job, started } = await jobOf(made);
    expect(started).toMatchObject([{ input: { cmkId: key } }]);
    expect(await shown(job.entities.image_id)).toMatchObject({ __system__cmkid: key });
    const changed = await gateway.app.inject({
      method: 'PATCH',
      url: `/v2/cloudimages/${job.entities.image_id}`,
      headers: { 'x-auth-token': token, 'content-type': 'application/json' },
      payload: [{ op: 'replace', path: '/__system__cmkid', value: await aKey() }],
    });
    expect(changed.statusCode).toBeGreaterThanOrEqual(400);
    expect(await shown(job.entities.image_id)).toMatchObject({ __system__cmkid: key });
  });

  it.each<[string, () => Promise<string>]>([
    ['IMG.0095', () => Promise.resolve(randomUUID())],
    ['IMG.0095', () => Promise.resolve('nonsense')],
    [
      'IMG.0097',
      async () => {
        const id = await aKey();
        await kms('disable-key', { key_id: id });
        return id;
      },
    ],
    [
      'IMG.0097',
      async () => {
        const id = await aKey();
        await kms('schedule-key-deletion', { key_id: id, pending_days: '7' });
        return id;
      },
    ],
  ])('refuses with %s a key that cannot be used, in copies and imports (ENC-02)', async (expected, keyOf) => {
    const cmk_id = await keyOf();
    expect(code(await copy({ cmk_id }))).toBe(expected);
    const file = { name: 'a', image_url: 'images:disk.raw', cmk_id };
    expect(code(await post('/v2/cloudimages/action', { ...file, min_disk: 10 }))).toBe(expected);
    expect(code(await post('/v1/cloudimages/dataimages/action', { ...file, min_disk: 40 }))).toBe(expected);
  });

  it('asks for the caller’s own rights on the key in safe mode alone (ims-api 6.1)', async () => {
    const name = `account-${randomBytes(4).toString('hex')}`;
    const weak = await gateway.anotherAccount(['ims:*:*', 'kms:cmk:create']);
    const made = await kms('create-key', { key_alias: name }, weak.token, weak.projectId);
    const { key_id: cmk_id } = made.json<{ key_info: { key_id: string } }>().key_info;
    const body = { name: 'a', image_url: 'images:disk.raw', min_disk: 10, cmk_id };
    expect((await post('/v2/cloudimages/action', body, weak.token)).statusCode).toBe(200);
    expect(code(await post('/v2.1/cloudimages/action', body, weak.token))).toBe('IMG.0099');
    expect(code(await copy({ cmk_id: await aKey() }, { version: 'v2.1' }))).toBeUndefined();
  });

  it('copies no image without credentials, without the right, or of another tenant', async () => {
    expect((await copy({}, { as: '' })).statusCode).toBe(401);
    const weak = await gateway.anotherAccount(['ims:images:list']);
    const refused = await copy({}, { as: weak.token });
    expect([refused.statusCode, code(refused)]).toEqual([403, 'IMG.0026']);
    const stranger = await gateway.anotherAccount();
    for (const [id, as] of [
      [image.id, stranger.token],
      [randomUUID(), token],
      ['nonsense', token],
    ] as const) {
      const unknown = await copy({}, { id, as });
      expect([unknown.statusCode, code(unknown)]).toEqual([404, 'IMG.0144']);
    }
  });
});
