import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdir, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { openSource } from '@ims/buckets';
import { imageId, imageStream, jobId, jobStream } from '@ims/contract';
import { readStream } from '@ims/event-log';
import { createStagedFiles } from '@ims/staging';
import { inTransaction, systemClock } from '@ims/db';
import { temporaryDirectory, waitFor } from '@ims/testing';
import { sql } from 'kysely';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { ImageImportService } from './image-import.service';
import { clearAbandoned, ONE_REQUEST } from './staging-refusal';
import { TUS_MEDIA_TYPE } from './tus';
import { UploadsService } from './uploads.service';

const MIB = 2 ** 20;

let gateway: GatewayUnderTest;
let token: string;

beforeAll(async () => {
  gateway = await gatewayUnderTest();
  await gateway.app.listen(0, '127.0.0.1');
  token = await gateway.tokenOf('acme', 'alice');
});
afterEach(async () => {
  for (const { id } of await gateway.parts.staged.list()) await gateway.parts.staged.delete(id);
});
afterAll(() => gateway.close());

type Method = 'GET' | 'HEAD' | 'POST' | 'PATCH' | 'PUT' | 'DELETE' | 'OPTIONS';

const call = (
  method: Method,
  url: string,
  { headers = {}, payload, as = token }: { headers?: object; payload?: object | string; as?: string } = {},
) =>
  gateway.app.inject({
    method,
    url,
    headers: { 'x-auth-token': as, ...headers },
    ...(payload === undefined ? {} : { payload }),
  });

async function aWaitingImage(more: object = {}): Promise<string> {
  const created = await call('POST', '/v2/images', { payload: { name: 'a', disk_format: 'raw', ...more } });
  expect(created.statusCode).toBe(201);
  return created.json<{ id: string }>().id;
}

const upload = (id: string): string => `/v2/images/${id}/upload`;
const begin = (id: string, headers: object = { 'upload-defer-length': '1' }) => call('POST', upload(id), { headers });
const patch = (id: string, offset: number, bytes: Buffer | Readable, headers: object = {}) =>
  call('PATCH', upload(id), {
    headers: { 'content-type': TUS_MEDIA_TYPE, 'upload-offset': String(offset), ...headers },
    payload: bytes,
  });
const put = (path: string, bytes: Buffer | Readable, headers: object = {}) =>
  call('PUT', path, { headers: { 'content-type': 'application/octet-stream', ...headers }, payload: bytes });

const statusOf = async (id: string) => (await call('GET', `/v2/images/${id}`)).json<{ status: string }>().status;
const storyOf = async (id: string) =>
  (await readStream(gateway.parts.db, imageStream(imageId(id)))).map(({ type }) => type);
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** What the job of an accepted call was given. */
async function inputOf(job: string) {
  const { input } = await gateway.parts.db
    .selectFrom('outbox')
    .select('input')
    .where('workflow_id', '=', job)
    .executeTakeFirstOrThrow();
  // Written by the service under test as its contract has it.
  return input as { source: { kind: string; stagedId: string; uri?: string; digests?: object }; imageId: string };
}

/** Waits until a request under way has written so much; asking the service instead would take the writer's place in between. */
async function isWriting(id: string, sizeBytes: number): Promise<void> {
  const { config, staged } = gateway.parts;
  const file = await staged.findOfImage(id);
  const path = join(config.staging.directory, 'staged', file?.id ?? '');
  await waitFor(async () => (await stat(path).catch(() => undefined))?.size === sizeBytes, {
    deadlineMs: 10_000,
    what: 'the request is being taken',
  });
}

async function stagedBytes(stagedId: string): Promise<Buffer> {
  const { staged } = gateway.parts;
  const pinned = await staged.pin(stagedId);
  if (pinned === undefined) throw new Error('nothing staged');
  const source = await openSource(staged.describe(pinned));
  const bytes = Buffer.alloc(source.sizeBytes);
  await source.read(0, bytes);
  await source.close();
  return bytes;
}

describe(UploadsService.name, () => {
  it('takes a file over many requests and hands it to a job (CRE-30)', async () => {
    const id = await aWaitingImage();
    const bytes = randomBytes(3 * MIB + 5);
    const begun = await begin(id, { 'upload-length': String(bytes.length), 'tus-resumable': '1.0.0' });
    expect(begun.statusCode).toBe(201);
    expect(begun.headers).toMatchObject({ location: upload(id), 'tus-resumable': '1.0.0', 'upload-offset': '0' });
    expect(await statusOf(id)).toBe('uploading');
    const cuts = [0, 1, MIB, MIB, bytes.length];
    for (const [n, from] of cuts.slice(0, -1).entries()) {
      const part = await patch(id, from, bytes.subarray(from, cuts[n + 1]));
      expect(part.statusCode).toBe(204);
      expect(part.headers['upload-offset']).toBe(String(cuts[n + 1]));
    }
    const head = await call('HEAD', upload(id));
    expect(head.statusCode).toBe(200);
    expect(head.headers).toMatchObject({
      'upload-offset': String(bytes.length),
      'upload-length': String(bytes.length),
      'cache-control': 'no-store',
    });
    const done = await call('POST', `${upload(id)}/complete`, {
      payload: { size: bytes.length, sha256: sha256(bytes).toUpperCase() },
    });
    expect(done.statusCode).toBe(202);
    const { job_id: job } = done.json<{ job_id: string }>();
    expect(done.headers).toMatchObject({
      location: `/v1/${gateway.identity.projectId}/jobs/${job}`,
      'x-job-id': job,
    });
    const { source } = await inputOf(job);
    expect(source).toMatchObject({ kind: 'staged-file', digests: { sha256: sha256(bytes) } });
    expect((await stagedBytes(source.stagedId)).equals(bytes)).toBe(true);
    // The bytes are the job's: nobody adds to them or takes them away.
    for (const again of [await patch(id, bytes.length, Buffer.from('x')), await call('DELETE', upload(id))])
      expect(again.statusCode).toBe(404);
    expect((await call('POST', `${upload(id)}/complete`)).statusCode).toBe(404);
    expect(await storyOf(id)).toEqual(['image.queued', 'image.uploading']);
    expect((await readStream(gateway.parts.db, jobStream(jobId(job)))).map(({ type }) => type)).toEqual([
      'job.accepted',
    ]);
  });

  it('goes on where another ended, with the length told later or never', async () => {
    const id = await aWaitingImage();
    expect((await begin(id)).headers).toMatchObject({ 'upload-defer-length': '1' });
    // The sender goes away in the middle of its request.
    const sender = request(new URL(upload(id), await gateway.app.getUrl()), {
      method: 'PATCH',
      headers: { 'x-auth-token': token, 'content-type': TUS_MEDIA_TYPE, 'upload-offset': '0', 'content-length': '6' },
    });
    sender.on('error', () => undefined);
    sender.write('abc');
    // Asking for the lock would take it from the sender.
    const isTaken = async () =>
      (
        await sql`select from pg_locks where locktype = 'advisory'
          and database = (select oid from pg_database where datname = current_database())`.execute(gateway.parts.db)
      ).rows.length > 0;
    await waitFor(isTaken, { deadlineMs: 10_000, what: 'the request is being taken' });
    sender.destroy();
    await waitFor(
      async () => {
        const { offset, length } = (await call('GET', upload(id))).json<{ offset: number; length: number | null }>();
        expect(length).toBeNull();
        expect([0, 3]).toContain(offset);
        return (await patch(id, offset, Buffer.from('abcdef').subarray(offset))).statusCode === 204;
      },
      { deadlineMs: 10_000, what: 'the upload goes on' },
    );
    const done = await call('POST', `${upload(id)}/complete`);
    expect(done.statusCode).toBe(202);
    const { source } = await inputOf(done.json<{ job_id: string }>().job_id);
    expect((await stagedBytes(source.stagedId)).toString()).toBe('abcdef');
  });

  it('refuses a wrong offset and says which one is right', async () => {
    const id = await aWaitingImage();
    await begin(id);
    await patch(id, 0, Buffer.from('abc'));
    for (const offset of [0, 2, 4, 1e12]) {
      const refused = await patch(id, offset, Buffer.from('x'));
      expect(refused.statusCode).toBe(409);
      expect(refused.headers).toMatchObject({ 'upload-offset': '3', 'tus-resumable': '1.0.0' });
    }
    expect((await call('GET', upload(id))).json()).toMatchObject({ offset: 3 });
  });

  it.each([
    ['of another media type', { 'content-type': 'application/octet-stream' }, 415],
    ['of no media type', { 'content-type': 'text/plain' }, 415],
    ['with an empty offset', { 'upload-offset': '' }, 400],
    ['with an offset that is none', { 'upload-offset': '-1' }, 400],
    ['with a fraction of an offset', { 'upload-offset': '1.5' }, 400],
    ['with an offset in another spelling', { 'upload-offset': '0x0' }, 400],
    ['with a length that is none', { 'upload-length': '1e3' }, 400],
    ['with a length of less than has arrived with them', { 'upload-length': '2' }, 400],
    ['with a length that no file may have', { 'upload-length': String(129 * 1024 ** 3) }, 413],
    ['in another version of the protocol', { 'tus-resumable': '0.2.2' }, 412],
  ])('refuses bytes %s', async (_what, headers, status) => {
    const id = await aWaitingImage();
    await begin(id);
    const refused = await patch(id, 0, Buffer.from('abc'), headers);
    expect(refused.statusCode).toBe(status);
    if (status === 412) expect(refused.headers['tus-version']).toBe('1.0.0');
    expect((await call('GET', upload(id))).json()).toMatchObject({ offset: 0 });
  });

  it('is told its length with bytes that come later, once (tus: creation-defer-length)', async () => {
    const id = await aWaitingImage();
    await begin(id);
    expect((await patch(id, 0, Buffer.from('abc'))).headers).toMatchObject({ 'upload-defer-length': '1' });
    expect((await patch(id, 3, Buffer.alloc(0), { 'upload-length': '2' })).statusCode).toBe(400);
    const told = await patch(id, 3, Buffer.from('d'), { 'upload-length': '6' });
    expect(told.statusCode).toBe(204);
    expect(told.headers).toMatchObject({ 'upload-offset': '4', 'upload-length': '6' });
    expect((await patch(id, 4, Buffer.from('e'), { 'upload-length': '7' })).statusCode).toBe(400);
    expect((await call('POST', `${upload(id)}/complete`)).statusCode).toBe(409);
    expect((await patch(id, 4, Buffer.from('ef'), { 'upload-length': '6' })).statusCode).toBe(204);
    expect((await call('POST', `${upload(id)}/complete`)).statusCode).toBe(202);
  });

  it('is not complete while somebody adds to it', async () => {
    const id = await aWaitingImage();
    await begin(id);
    await patch(id, 0, Buffer.from('abc'));
    const adding = request(new URL(upload(id), await gateway.app.getUrl()), {
      method: 'PATCH',
      headers: { 'x-auth-token': token, 'content-type': TUS_MEDIA_TYPE, 'upload-offset': '3', 'content-length': '3' },
    });
    const added = once(adding, 'response');
    adding.write('de');
    await isWriting(id, 5);
    expect((await patch(id, 4, Buffer.from('x'))).statusCode).toBe(423);
    expect((await call('POST', `${upload(id)}/complete`)).statusCode).toBe(423);
    adding.end('f');
    expect(await added).toMatchObject([{ statusCode: 204 }]);
    expect((await call('POST', `${upload(id)}/complete`, { payload: { size: 6 } })).statusCode).toBe(202);
  });

  it('does not take away what was handed to a job while it looked for what had been abandoned', async () => {
    const { staged } = gateway.parts;
    const id = await aWaitingImage();
    const stagedId = `${ONE_REQUEST}${randomUUID()}`;
    await staged.create(stagedId, { projectId: gateway.identity.projectId, imageId: id });
    await staged.append(stagedId, 0, Readable.from([Buffer.from('abc')]));
    const cleared = await clearAbandoned(
      {
        findOfImage: (image) => staged.findOfImage(image),
        // Between the last look and the deletion its sender hands it over.
        append: async (file, offset, body) => {
          const length = await staged.append(file, offset, body);
          await inTransaction(gateway.parts.db, (trx) => staged.claim(trx, file, 'job-1'));
          return length;
        },
        deleteUnclaimed: (file) => staged.deleteUnclaimed(file),
      },
      id,
    );
    expect(cleared).toBe(true);
    expect((await stagedBytes(stagedId)).toString()).toBe('abc');
    expect(await staged.findOfImage(id)).toBeUndefined();
  });

  it('has one sender at a time, and one upload', async () => {
    const id = await aWaitingImage();
    await begin(id);
    const slow = new Readable({ read: () => undefined });
    slow.push(Buffer.from('abc'));
    const first = patch(id, 0, slow);
    await isWriting(id, 3);
    const second = await patch(id, 0, Buffer.from('x'));
    slow.push(null);
    expect([(await first).statusCode, second.statusCode]).toEqual([204, 423]);
    expect((await begin(id)).statusCode).toBe(409);
    expect((await put(`/v2/images/${id}/file`, Buffer.from('abc'))).statusCode).toBe(409);
  });

  it('makes no image of less than was announced, of other bytes, or of none (SEC-06)', async () => {
    const id = await aWaitingImage();
    await begin(id, { 'upload-length': '6' });
    const complete = (payload: object = {}) => call('POST', `${upload(id)}/complete`, { payload });
    expect((await complete()).statusCode).toBe(409);
    await patch(id, 0, Buffer.from('abc'));
    expect((await complete()).statusCode).toBe(409);
    expect((await patch(id, 3, Buffer.from('defg'))).statusCode).toBe(400);
    const { offset } = (await call('GET', upload(id))).json<{ offset: number }>();
    await patch(id, offset, Buffer.from('abcdef').subarray(offset));
    for (const wrong of [{ size: 5 }, { sha256: '0'.repeat(64) }]) {
      const refused = await complete(wrong);
      expect(refused.statusCode).toBe(400);
      expect(refused.body).toContain('IMG.0057');
    }
    for (const malformed of [{ size: 'six' }, { sha256: 'abc' }, []])
      expect((await complete(malformed)).body).toContain('IMG.0001');
    expect(await statusOf(id)).toBe('uploading');
    expect((await complete({ size: 6, sha256: sha256(Buffer.from('abcdef')) })).statusCode).toBe(202);

    const empty = await aWaitingImage();
    await begin(empty);
    expect((await call('POST', `${upload(empty)}/complete`)).body).toContain('IMG.0057');
  });

  it('is given up by its sender, and the image waits for another', async () => {
    const id = await aWaitingImage();
    await begin(id);
    await patch(id, 0, Buffer.from('abc'));
    expect((await call('DELETE', upload(id))).statusCode).toBe(204);
    expect(await statusOf(id)).toBe('queued');
    expect(await readdir(join(gateway.parts.config.staging.directory, 'staged'))).toEqual([]);
    for (const method of ['GET', 'HEAD', 'DELETE'] as const)
      expect((await call(method, upload(id))).statusCode).toBe(404);
    expect((await begin(id)).statusCode).toBe(201);
    expect(await storyOf(id)).toEqual(['image.queued', 'image.uploading', 'image.requeued', 'image.uploading']);
  });

  it('is 413 where there is no room, and nothing of it remains', async () => {
    const id = await aWaitingImage();
    expect((await begin(id, { 'upload-length': String(129 * 1024 ** 3) })).statusCode).toBe(413);
    expect((await begin(id, { 'upload-length': String(128 * 1024 ** 3) })).statusCode).toBe(201);
    const crowded = await gatewayUnderTest({
      staged: createStagedFiles({
        db: gateway.parts.db,
        databaseUrl: gateway.database.url,
        directory: await temporaryDirectory(),
        maxProjectBytes: 128 * 1024 ** 3 + 2 * MIB,
        clock: systemClock,
      }),
      db: gateway.parts.db,
      authenticator: gateway.parts.authenticator,
    });
    try {
      const other = await aWaitingImage();
      const send = (method: 'POST' | 'PATCH' | 'PUT', url: string, headers: object, payload?: Buffer) =>
        crowded.app.inject({
          method,
          url,
          headers: { 'x-auth-token': token, ...headers },
          ...(payload === undefined ? {} : { payload }),
        });
      expect((await send('POST', upload(other), { 'upload-length': String(3 * MIB) })).statusCode).toBe(413);
      expect((await send('POST', upload(other), {})).statusCode).toBe(201);
      const parts = { 'content-type': TUS_MEDIA_TYPE, 'upload-offset': '0' };
      expect((await send('PATCH', upload(other), parts, randomBytes(3 * MIB))).statusCode).toBe(413);
      expect((await call('GET', upload(other))).statusCode).toBe(404);
      expect(await statusOf(other)).toBe('queued');
      const octets = { 'content-type': 'application/octet-stream' };
      const staging = await send('PUT', `/v2/images/${other}/stage`, octets, randomBytes(3 * MIB));
      expect(staging.statusCode).toBe(413);
      expect(await statusOf(other)).toBe('queued');
    } finally {
      await crowded.app.close();
      await crowded.database.drop();
    }
  });

  it('says what it can do to whoever asks', async () => {
    const options = await gateway.app.inject({ method: 'OPTIONS', url: upload(randomUUID()) });
    expect(options.statusCode).toBe(204);
    expect(options.headers).toMatchObject({
      'tus-version': '1.0.0',
      'tus-extension': 'creation,creation-defer-length,expiration,termination',
      'tus-max-size': String(128 * 1024 ** 3),
    });
  });

  it('is refused to strangers and to those who may not upload (PER-08)', async () => {
    const id = await aWaitingImage();
    await begin(id);
    const [stranger, reader] = [await gateway.anotherAccount(), await gateway.anotherAccount(['ims:images:list'])];
    const requests = [
      ['POST', upload(id)],
      ['GET', upload(id)],
      ['PATCH', upload(id)],
      ['POST', `${upload(id)}/complete`],
      ['PUT', `/v2/images/${id}/stage`],
      ['POST', `/v2/images/${id}/import`],
      ['DELETE', upload(id)],
    ] as const;
    for (const [method, url] of requests) {
      const headers = {
        'content-type':
          method === 'PATCH' ? TUS_MEDIA_TYPE : method === 'PUT' ? 'application/octet-stream' : 'application/json',
        'upload-offset': '0',
      };
      const payload = url.endsWith('/import')
        ? { method: { name: 'glance-direct' } }
        : method === 'PATCH' || method === 'PUT'
          ? Buffer.from('x')
          : {};
      const answers = await Promise.all([
        gateway.app.inject({ method, url, headers, payload }),
        call(method, url, { headers, payload, as: reader.token }),
        call(method, url, { headers, payload, as: stranger.token }),
      ]);
      expect([method, url, ...answers.map(({ statusCode }) => statusCode)]).toEqual([method, url, 401, 403, 404]);
    }
    expect((await gateway.app.inject({ url: '/v2/info/import' })).statusCode).toBe(401);
    expect(await statusOf(id)).toBe('uploading');
  });
});

describe(ImageImportService.name, () => {
  it('lists its methods, also where an image is made', async () => {
    expect((await call('GET', '/v2/info/import')).json()).toEqual({
      'import-methods': {
        description: 'Import methods available.',
        type: 'array',
        value: ['glance-direct', 'web-download'],
      },
    });
    const created = await call('POST', '/v2/images', { payload: { name: 'a', disk_format: 'raw' } });
    expect(created.headers['openstack-image-import-methods']).toBe('glance-direct,web-download');
  });

  it('imports what was staged', async () => {
    const id = await aWaitingImage();
    const order = { payload: { method: { name: 'glance-direct' } } };
    expect((await call('POST', `/v2/images/${id}/import`, order)).statusCode).toBe(409);
    const bytes = randomBytes(MIB);
    expect((await put(`/v2/images/${id}/stage`, bytes)).statusCode).toBe(204);
    expect(await statusOf(id)).toBe('uploading');
    const done = await call('POST', `/v2/images/${id}/import`, order);
    expect(done.statusCode).toBe(202);
    const { source, imageId: image } = await inputOf(String(done.headers['x-job-id']));
    expect(image).toBe(id);
    expect((await stagedBytes(source.stagedId)).equals(bytes)).toBe(true);
    expect((await call('POST', `/v2/images/${id}/import`, order)).statusCode).toBe(409);
  });

  it('stages anew what was cut or is to be another file, and keeps nothing that is not whole', async () => {
    const id = await aWaitingImage();
    const stage = `/v2/images/${id}/stage`;
    expect((await put(stage, Readable.from([Buffer.from('abc')]), { 'x-openstack-image-size': '4' })).statusCode).toBe(
      400,
    );
    expect(await statusOf(id)).toBe('queued');
    expect((await put(stage, Buffer.from('first'))).statusCode).toBe(204);
    expect((await put(stage, Readable.from([Buffer.from('second')]))).statusCode).toBe(204);
    const done = await call('POST', `/v2/images/${id}/import`, { payload: { method: { name: 'glance-direct' } } });
    const { source } = await inputOf(String(done.headers['x-job-id']));
    expect((await stagedBytes(source.stagedId)).toString()).toBe('second');
    expect((await put(stage, Buffer.from('third'))).statusCode).toBe(409);
  });

  it('of several files staged at once keeps one, whole', async () => {
    for (let round = 0; round < 8; round += 1) {
      const id = await aWaitingImage();
      const files = ['a', 'b', 'c'].map((letter) => Buffer.from(letter.repeat(64 * 1024 + round)));
      const answers = await Promise.all(files.map((bytes) => put(`/v2/images/${id}/stage`, bytes)));
      const statuses = answers.map(({ statusCode }) => statusCode);
      expect(statuses).toContain(204);
      const done = await call('POST', `/v2/images/${id}/import`, { payload: { method: { name: 'glance-direct' } } });
      expect(done.statusCode).toBe(202);
      const { source } = await inputOf(String(done.headers['x-job-id']));
      const kept = await stagedBytes(source.stagedId);
      const winners = files.filter((_file, n) => statuses[n] === 204);
      expect(winners.some((bytes) => bytes.equals(kept))).toBe(true);
    }
  });

  it('imports no upload of which nobody has said that it is complete', async () => {
    const id = await aWaitingImage();
    await begin(id);
    await patch(id, 0, Buffer.from('abc'));
    const order = { payload: { method: { name: 'glance-direct' } } };
    expect((await call('POST', `/v2/images/${id}/import`, order)).statusCode).toBe(409);
    await call('DELETE', upload(id));
    await begin(id, { 'upload-length': '3' });
    await patch(id, 0, Buffer.from('abc'));
    expect((await call('POST', `/v2/images/${id}/import`, order)).statusCode).toBe(202);
  });

  it('imports a file of the web, whose secrets stay out of the events', async () => {
    const id = await aWaitingImage();
    const uri = 'https://files.example.test/disk.raw?signature=secret#part';
    const done = await call('POST', `/v2/images/${id}/import`, { payload: { method: { name: 'web-download', uri } } });
    expect(done.statusCode).toBe(202);
    const job = String(done.headers['x-job-id']);
    expect((await inputOf(job)).source).toEqual({
      kind: 'web-file',
      uri: 'https://files.example.test/disk.raw?signature=secret',
      stagedId: `web-${job}`,
    });
    const [accepted] = await readStream(gateway.parts.db, jobStream(jobId(job)));
    expect(accepted?.data).toMatchObject({
      request: { method: 'web-download', uri: 'https://files.example.test/disk.raw?***' },
      steps: ['fetch', 'inspect', 'ingest', 'verify', 'publish', 'meter'],
    });
    expect(JSON.stringify(accepted?.data)).not.toContain('secret');
  });

  it.each([
    [{ method: { name: 'web-download', uri: 'file:///etc/passwd' } }, 'IMG.0057'],
    [{ method: { name: 'web-download', uri: 'http://169.254.169.254/latest/meta-data' } }, 'IMG.0057'],
    [{ method: { name: 'web-download', uri: 'http://2130706433/' } }, 'IMG.0057'],
    [{ method: { name: 'web-download', uri: 'http://files.example.test:22/' } }, 'IMG.0057'],
    [{ method: { name: 'web-download' } }, 'IMG.0001'],
    [{ method: { name: 'glance-direct', uri: 'http://files.example.test/' } }, 'IMG.0001'],
    [{ method: { name: 'copy-image' } }, 'IMG.0001'],
    [{ method: 'glance-direct' }, 'IMG.0001'],
    [{}, 'IMG.0001'],
    [{ method: { name: 'glance-direct' }, all_stores: true }, 'IMG.0105'],
    [{ method: { name: 'glance-direct' }, stores: ['fast'] }, 'IMG.0105'],
  ])('refuses %j', async (payload, code) => {
    const id = await aWaitingImage();
    const refused = await call('POST', `/v2/images/${id}/import`, { payload });
    expect(refused.statusCode).toBe(400);
    expect(refused.body).toContain(code);
    expect(await statusOf(id)).toBe('queued');
  });
});
