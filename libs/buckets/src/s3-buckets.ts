import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetBucketLocationCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  type S3Client,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import type { BucketFile, PinnedFile } from '@ims/contract';
import { Readable, Transform } from 'node:stream';
import { BodyLengthError, ObjectNameError } from './bucket.errors';
import type { BucketInfo, BucketStore, SourceDescriptor } from './bucket.port';
import { checkObjectKey, isBucketName, isObjectKey } from './object-name';
import { type S3Endpoint, createS3Client, statusOf } from './s3-client';

// A bucket that does not exist, or that these credentials may not see, is one case to the caller (IMG.0069).
const UNREACHABLE = new Set([301, 400, 403, 404]);

// backends D1.2: part = max(64 MiB, size / 10 000) rounded up to 1 MiB.
const MIB = 1024 * 1024;
const MIN_PART_BYTES = 64 * MIB;
const MAX_PARTS = 10_000;

export function partSizeBytes(sizeBytes: number): number {
  return Math.max(MIN_PART_BYTES, Math.ceil(sizeBytes / MAX_PARTS / MIB) * MIB);
}

/** Buckets of an S3 server (OBS speaks the same protocol). Objects in a class other than Standard are not seen: they cannot be read. */
export class S3Buckets implements BucketStore {
  private readonly client: S3Client;

  constructor(private readonly endpoint: S3Endpoint) {
    this.client = createS3Client(endpoint);
  }

  async describeBucket(bucket: string): Promise<BucketInfo | undefined> {
    if (!isBucketName(bucket)) return undefined;
    try {
      const command = new HeadBucketCommand({ Bucket: bucket });
      const headers: Record<string, string> = {};
      command.middlewareStack.add((next) => async (args) => keepHeaders(await next(args), headers), {
        step: 'deserialize',
      });
      const head = await this.client.send(command);
      const region = headers['x-obs-bucket-location'] ?? head.BucketRegion ?? (await this.locate(bucket));
      return { region, storageClass: storageClassOf(headers['x-obs-storage-class']) };
    } catch (error) {
      if (UNREACHABLE.has(statusOf(error) ?? 0)) return undefined;
      throw error;
    }
  }

  async pin(file: BucketFile): Promise<PinnedFile | undefined> {
    if (!isBucketName(file.bucket) || !isObjectKey(file.key)) return undefined;
    try {
      const command = new HeadObjectCommand({ Bucket: file.bucket, Key: file.key });
      const headers: Record<string, string> = {};
      command.middlewareStack.add((next) => async (args) => keepHeaders(await next(args), headers), {
        step: 'deserialize',
      });
      const head = await this.client.send(command);
      return pinOf(file, head, head.StorageClass ?? headers['x-obs-storage-class']);
    } catch (error) {
      if (UNREACHABLE.has(statusOf(error) ?? 0)) return undefined;
      throw error;
    }
  }

  describe(file: PinnedFile): SourceDescriptor {
    return { driver: 's3', ...this.endpoint, file };
  }

  async createBucket(bucket: string): Promise<void> {
    if (!isBucketName(bucket)) throw new ObjectNameError(bucket, 'is not a bucket name');
    if ((await this.describeBucket(bucket)) !== undefined) return;
    await this.client.send(new CreateBucketCommand({ Bucket: bucket }));
  }

  async put(file: BucketFile, body: NodeJS.ReadableStream | Uint8Array, sizeBytes?: number): Promise<PinnedFile> {
    if (!isBucketName(file.bucket)) throw new ObjectNameError(file.bucket, 'is not a bucket name');
    checkObjectKey(file.key);
    const announced = sizeBytes ?? (body instanceof Uint8Array ? body.length : undefined);
    const upload = new Upload({
      client: this.client,
      params: { Bucket: file.bucket, Key: file.key, Body: countedBody(file, body, announced) },
      ...(announced === undefined ? {} : { partSize: partSizeBytes(announced) }),
    });
    await upload.done();
    const pinned = await this.pin(file);
    if (pinned === undefined)
      throw new Error(`store ${file.bucket}:${file.key}: the object was removed while it was stored`);
    return pinned;
  }

  async *list(bucket: string, prefix = ''): AsyncIterable<PinnedFile> {
    if (!isBucketName(bucket)) return;
    let next: string | undefined;
    do {
      const page = await this.listPage(bucket, prefix, next);
      for (const { Key: key, ETag: etag, Size: sizeBytes, LastModified: modifiedAt } of page.Contents ?? []) {
        // Folder markers of other tools end with a slash and are no objects to us.
        if (key === undefined || etag === undefined || modifiedAt === undefined || !isObjectKey(key)) continue;
        yield { bucket, key, etag, sizeBytes: sizeBytes ?? 0, modifiedAt: modifiedAt.toISOString() };
      }
      next = page.NextContinuationToken;
    } while (next !== undefined);
  }

  async remove(file: BucketFile): Promise<void> {
    if (!isBucketName(file.bucket) || !isObjectKey(file.key)) return;
    try {
      await this.client.send(new DeleteObjectCommand({ Bucket: file.bucket, Key: file.key }));
    } catch (error) {
      if (statusOf(error) === 404) return;
      throw error;
    }
  }

  private async listPage(
    bucket: string,
    prefix: string,
    next: string | undefined,
  ): Promise<Pick<ListObjectsV2CommandOutput, 'Contents' | 'NextContinuationToken'>> {
    try {
      const from = next === undefined ? {} : { ContinuationToken: next };
      return await this.client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, ...from }));
    } catch (error) {
      // An absent bucket holds nothing, as with the other driver.
      if (statusOf(error) === 404) return {};
      throw error;
    }
  }

  private async locate(bucket: string): Promise<string> {
    const { LocationConstraint: location } = await this.client.send(new GetBucketLocationCommand({ Bucket: bucket }));
    // An empty location is the server's own default region, which is what its endpoint stands for.
    return location === undefined || String(location) === '' ? this.endpoint.region : location;
  }
}

function pinOf(
  file: BucketFile,
  head: HeadObjectCommandOutput,
  storageClass: string | undefined,
): PinnedFile | undefined {
  if (head.ETag === undefined || head.ContentLength === undefined || head.LastModified === undefined) {
    throw new Error(`pin ${file.bucket}:${file.key}: the server names no ETag, length or date`);
  }
  if (storageClassOf(storageClass) !== 'STANDARD') return undefined;
  return {
    bucket: file.bucket,
    key: file.key,
    etag: head.ETag,
    sizeBytes: head.ContentLength,
    modifiedAt: head.LastModified.toISOString(),
  };
}

/** S3 and OBS name the same three classes differently (backends D1); Standard is never spelled out. */
export function storageClassOf(name: string | undefined): BucketInfo['storageClass'] {
  switch (name) {
    case undefined:
    case '':
    case 'STANDARD':
      return 'STANDARD';
    case 'STANDARD_IA':
    case 'WARM':
      return 'WARM';
    default:
      return 'COLD';
  }
}

/** Copies the answer's headers: OBS has some that S3 does not know and the SDK drops (backends D1). */
function keepHeaders<R extends { response: unknown }>(result: R, headers: Record<string, string>): R {
  // The SDK types the raw response as unknown; its HTTP handler always gives lower-case headers.
  Object.assign(headers, (result.response as { headers?: Record<string, string> }).headers);
  return result;
}

/** Fails the upload at the end of a body of the wrong length, so that the multipart upload is abandoned and nothing becomes visible. */
function countedBody(
  file: BucketFile,
  body: NodeJS.ReadableStream | Uint8Array,
  announced: number | undefined,
): Uint8Array | Readable {
  if (announced === undefined) return body instanceof Uint8Array ? body : Readable.from(body);
  if (body instanceof Uint8Array) {
    if (body.length !== announced) throw new BodyLengthError(file.bucket, file.key, announced, body.length);
    return body;
  }
  let received = 0;
  const counter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      received += chunk.length;
      done(null, chunk);
    },
    flush(done) {
      done(received === announced ? null : new BodyLengthError(file.bucket, file.key, announced, received));
    },
  });
  const source = Readable.from(body);
  source.on('error', (error) => counter.destroy(error));
  return source.pipe(counter);
}
