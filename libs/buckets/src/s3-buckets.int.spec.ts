import { createHash } from 'node:crypto';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { createBuckets, ObjectExistsError, openSource, partSizeBytes } from './index';
import { storageClassOf } from './s3-buckets';
import { collect, describeBucketContract } from './spec-support/bucket-contract.spec';
import { type ForeignS3, startForeignS3 } from './spec-support/foreign-s3.spec';

const MIB = 1024 * 1024;

let server: ForeignS3;
beforeAll(async () => {
  server = await startForeignS3();
});
afterAll(() => server.stop());

describeBucketContract('S3 driver against SeaweedFS', () =>
  Promise.resolve({ buckets: createBuckets({ driver: 's3', ...server.endpoint }), stop: () => Promise.resolve() }),
);

describe('S3 driver', () => {
  const buckets = () => createBuckets({ driver: 's3', ...server.endpoint });

  it('uploads in parts and reads back what does not fit into one', async () => {
    await buckets().createBucket('large');
    const block = Buffer.alloc(MIB, 'ims');
    const count = 70;
    const body = Readable.from(
      (function* () {
        for (let i = 0; i < count; i += 1) yield Buffer.from(block.fill(i));
      })(),
    );
    const pinned = await buckets().put({ bucket: 'large', key: 'disk' }, body, count * MIB);
    expect(pinned.sizeBytes).toBe(count * MIB);
    // The form of an ETag of an upload in two parts (backends D1).
    expect(pinned.etag).toMatch(/^"[0-9a-f]{32}-2"$/);
    const source = await openSource(buckets().describe(pinned));
    const digest = createHash('sha256');
    const wanted = createHash('sha256');
    const target = Buffer.alloc(MIB);
    for (let i = 0; i < count; i += 1) {
      await source.read(i * MIB, target);
      digest.update(target);
      wanted.update(block.fill(i));
    }
    await source.close();
    expect(digest.digest('hex')).toBe(wanted.digest('hex'));
  });

  it('lists past the end of a page', async () => {
    await buckets().createBucket('many');
    const put = (i: number) =>
      server.client.send(new PutObjectCommand({ Bucket: 'many', Key: `k${i}`, Body: Buffer.from('x') }));
    // A page holds 1000 keys.
    const keys = Array.from({ length: 1010 }, (_, i) => i);
    for (let from = 0; from < keys.length; from += 32) await Promise.all(keys.slice(from, from + 32).map(put));
    const listed = (await collect(buckets().list('many'))).map((file) => file.key);
    expect(new Set(listed).size).toBe(1010);
    expect(listed).toHaveLength(1010);
  });

  it('skips folder markers of other tools', async () => {
    await buckets().createBucket('marked');
    await server.client.send(new PutObjectCommand({ Bucket: 'marked', Key: 'folder/', Body: Buffer.alloc(0) }));
    await buckets().put({ bucket: 'marked', key: 'folder/file' }, Buffer.from('x'));
    expect((await collect(buckets().list('marked'))).map((file) => file.key)).toEqual(['folder/file']);
  });

  it('sees no bucket with wrong keys, and fails when the server is away (IMG.0069)', async () => {
    const wrong = createBuckets({ driver: 's3', ...server.endpoint, secretAccessKey: 'wrong' });
    expect(await wrong.describeBucket('images')).toBeUndefined();
    const away = createBuckets({ driver: 's3', ...server.endpoint, endpoint: 'http://127.0.0.1:9' });
    await expect(away.describeBucket('images')).rejects.toThrow();
  });
});

/** Buckets of a server that answers so. */
async function answering(answer: RequestListener) {
  const http = createServer(answer);
  await new Promise<void>((done) => http.listen(0, '127.0.0.1', done));
  // A TCP server that listens has an address of this form.
  const { port } = http.address() as AddressInfo;
  return {
    buckets: createBuckets({ driver: 's3', ...server.endpoint, endpoint: `http://127.0.0.1:${port}` }),
    close: () => new Promise<void>((done) => http.close(() => done())),
  };
}

describe('S3 driver on what only OBS says', () => {
  it('reads region and class from the headers of a bucket (IMG.0058)', async () => {
    const obs = await answering((_request, response) => {
      response.writeHead(200, {
        'x-obs-bucket-location': 'region-2',
        'x-obs-storage-class': 'WARM',
        connection: 'close',
      });
      response.end();
    });
    expect(await obs.buckets.describeBucket('images')).toEqual({ region: 'region-2', storageClass: 'WARM' });
    await obs.close();
  });

  it.each([
    ['x-amz-storage-class', 'GLACIER', false],
    ['x-amz-storage-class', 'STANDARD', true],
    ['x-obs-storage-class', 'COLD', false],
    ['x-obs-storage-class', 'WARM', false],
  ])('sees an object with %s %s: %s', async (name, value, isSeen) => {
    const obs = await answering((_request, response) => {
      response.writeHead(200, {
        etag: '"e"',
        'content-length': '5',
        'last-modified': 'Tue, 24 Nov 2026 05:00:00 GMT',
        [name]: value,
        connection: 'close',
      });
      response.end();
    });
    expect((await obs.buckets.pin({ bucket: 'images', key: 'x' })) !== undefined).toBe(isSeen);
    await obs.close();
  });
});

describe('S3 driver on completions that meet one another', () => {
  it.each([
    // Of our own completion, whose answer was lost, or of another one's: the next try finds out.
    [409, 'ConditionalRequestConflict', Error, false],
    [412, 'PreconditionFailed', ObjectExistsError, true],
  ])('takes %d for what it says', async (status, code, error, isTaken) => {
    const obs = await answering((request, response) => {
      if (request.method !== 'POST') response.writeHead(404, { connection: 'close' }).end();
      else response.writeHead(status, { connection: 'close' }).end(`<Error><Code>${code}</Code></Error>`);
    });
    const upload = { file: { bucket: 'images', key: 'x' }, uploadId: 'u', owner: 'job-1', partSizeBytes: MIB };
    const failed = await obs.buckets
      .completeUpload(upload, [{ part: 1, etag: '"e"', sizeBytes: 1 }])
      .catch((reason: unknown) => reason);
    expect(failed).toBeInstanceOf(error);
    expect(failed instanceof ObjectExistsError).toBe(isTaken);
    await obs.close();
  });
});

describe('part sizes and storage classes', () => {
  it.each([
    [0, 64],
    [128 * 1024 * MIB, 64],
    [1024 * 1024 * MIB, 105],
  ])('cuts %d bytes into parts of %d MiB (backends D1.2)', (size, part) => {
    expect(partSizeBytes(size)).toBe(part * MIB);
  });

  it.each([
    [undefined, 'STANDARD'],
    ['STANDARD', 'STANDARD'],
    ['STANDARD_IA', 'WARM'],
    ['WARM', 'WARM'],
    ['GLACIER', 'COLD'],
    ['COLD', 'COLD'],
    ['DEEP_ARCHIVE', 'COLD'],
  ])('takes class %s for %s', (name, storageClass) => {
    expect(storageClassOf(name)).toBe(storageClass);
  });
});
