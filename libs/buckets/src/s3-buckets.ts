import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetBucketLocationCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  ListPartsCommand,
  PutObjectCommand,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { type BucketFile, ImsError, type PinnedFile } from '@ims/contract';
import { Readable, Transform } from 'node:stream';
import { createHash } from 'node:crypto';
import { BodyLengthError, ObjectExistsError, ObjectNameError, UploadGoneError } from './bucket.errors';
import type { BucketInfo, BucketStore, SourceDescriptor } from './bucket.port';
import { holdsBytes } from './holds-bytes';
import { checkObjectKey, isBucketName, isObjectKey } from './object-name';
import { type S3Endpoint, codeOf, createS3Client, statusOf } from './s3-client';
import { type ObjectUpload, type PartBody, partSizeBytes, type UploadedPart } from './upload.port';

// A bucket that does not exist, or that these credentials may not see, is one case to the caller (IMG.0069).
const UNREACHABLE = new Set([301, 400, 403, 404]);

// What the finished object says of its upload; the way OBS answers a lost completion by its own header (backends D1).
const OWNER = 'ims-owner';

// The object is there. 409 says less: a completion is under way, and it may be our own, whose answer was lost; the next try finds out.
const NAME_TAKEN = 412;
// Servers that know no condition on this call say so; the look before it stands alone then.
const NO_CONDITIONS = new Set(['NotImplemented', 'InvalidArgument', 'InvalidRequest']);

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

  async startUpload(
    { bucket, key }: BucketFile,
    options: { owner: string; partSizeBytes: number },
  ): Promise<ObjectUpload> {
    const file = { bucket, key };
    if (!isBucketName(bucket)) throw new ObjectNameError(bucket, 'is not a bucket name');
    checkObjectKey(key);
    // Some servers begin uploads into buckets that they do not have.
    if ((await this.describeBucket(bucket)) === undefined) throw new ImsError('IMG.0069', `bucket ${bucket}`);
    try {
      const started = await this.client.send(
        new CreateMultipartUploadCommand({ Bucket: bucket, Key: key, Metadata: { [OWNER]: options.owner } }),
      );
      if (started.UploadId === undefined) throw new Error(`upload ${bucket}:${key}: the server names no upload id`);
      return { file, uploadId: started.UploadId, ...options };
    } catch (error) {
      if (UNREACHABLE.has(statusOf(error) ?? 0)) throw new ImsError('IMG.0069', `bucket ${bucket}`);
      throw error;
    }
  }

  async pendingUploads({ bucket, key }: BucketFile): Promise<string[]> {
    const found: string[] = [];
    let next: { KeyMarker?: string; UploadIdMarker?: string } | undefined = {};
    while (next !== undefined) {
      const page: ListMultipartUploadsCommandOutput | undefined = await this.answerOf(
        new ListMultipartUploadsCommand({ Bucket: bucket, Prefix: key, ...next }),
        (command) => this.client.send(command),
      );
      // The prefix also finds longer names.
      for (const { Key, UploadId } of page?.Uploads ?? [])
        if (Key === key && UploadId !== undefined) found.push(UploadId);
      next =
        page?.IsTruncated === true && page.NextKeyMarker !== undefined
          ? {
              KeyMarker: page.NextKeyMarker,
              ...(page.NextUploadIdMarker === undefined ? {} : { UploadIdMarker: page.NextUploadIdMarker }),
            }
          : undefined;
    }
    return found;
  }

  async putPart(upload: ObjectUpload, part: number, body: PartBody, signal?: AbortSignal): Promise<UploadedPart> {
    const { file, uploadId } = upload;
    try {
      const { ETag: etag } = await this.client.send(
        new UploadPartCommand({
          Bucket: file.bucket,
          Key: file.key,
          UploadId: uploadId,
          PartNumber: part,
          // One buffer: a stream could not be sent again when the connection breaks.
          Body: Buffer.concat(body.pieces, body.sizeBytes),
          ContentLength: body.sizeBytes,
          ContentMD5: body.md5.toString('base64'),
        }),
        signal === undefined ? {} : { abortSignal: signal },
      );
      if (etag === undefined) throw new Error(`part ${part} of ${file.bucket}:${file.key}: the server names no ETag`);
      return { part, etag, sizeBytes: body.sizeBytes };
    } catch (error) {
      if (statusOf(error) === 404) throw new UploadGoneError(file, { cause: error });
      throw error;
    }
  }

  async listParts({ file, uploadId }: ObjectUpload): Promise<UploadedPart[]> {
    const parts: UploadedPart[] = [];
    let next: string | undefined;
    do {
      const page = await this.answerOf(
        new ListPartsCommand({
          Bucket: file.bucket,
          Key: file.key,
          UploadId: uploadId,
          ...(next === undefined ? {} : { PartNumberMarker: next }),
        }),
        (command) => this.client.send(command),
      );
      for (const { PartNumber: part, ETag: etag, Size: sizeBytes } of page?.Parts ?? [])
        if (part !== undefined && etag !== undefined && sizeBytes !== undefined) parts.push({ part, etag, sizeBytes });
      next = page?.IsTruncated === true ? page.NextPartNumberMarker : undefined;
    } while (next !== undefined);
    return parts;
  }

  async completeUpload(upload: ObjectUpload, parts: readonly UploadedPart[]): Promise<PinnedFile> {
    const { file } = upload;
    const before = await this.objectOf(upload);
    if (before !== undefined) return before;
    // Not every server knows the condition below; to these it is all there is, and the window is one call wide.
    if ((await this.head(file)) !== undefined) throw new ObjectExistsError(file);
    try {
      await this.complete(upload, parts, true).catch((error: unknown) => {
        if (!NO_CONDITIONS.has(codeOf(error) ?? '')) throw error;
        return this.complete(upload, parts, false);
      });
    } catch (error) {
      // An answer may be lost, and a server may have finished what it then could not say (backends D1).
      const made = await this.objectOf(upload);
      if (made !== undefined) return made;
      if (statusOf(error) === NAME_TAKEN) throw new ObjectExistsError(file);
      if (statusOf(error) === 404) throw new UploadGoneError(file, { cause: error });
      throw error;
    }
    const made = await this.objectOf(upload);
    if (made === undefined) throw new ObjectExistsError(file);
    return made;
  }

  async abortUpload({ file, uploadId }: Pick<ObjectUpload, 'file' | 'uploadId'>): Promise<void> {
    await this.answerOf(
      new AbortMultipartUploadCommand({ Bucket: file.bucket, Key: file.key, UploadId: uploadId }),
      (command) => this.client.send(command),
    );
  }

  async objectOf({ file, owner }: ObjectUpload): Promise<PinnedFile | undefined> {
    const head = await this.head(file);
    return head?.Metadata?.[OWNER] === owner ? pinOf(file, head, head.StorageClass) : undefined;
  }

  async createObject(file: BucketFile, bytes: Uint8Array): Promise<PinnedFile> {
    if (!isBucketName(file.bucket)) throw new ObjectNameError(file.bucket, 'is not a bucket name');
    checkObjectKey(file.key);
    if ((await this.head(file)) !== undefined) throw new ObjectExistsError(file);
    const put = (conditions: { IfNoneMatch?: string }) =>
      this.client.send(
        new PutObjectCommand({
          Bucket: file.bucket,
          Key: file.key,
          Body: bytes,
          ContentLength: bytes.length,
          ContentMD5: createHash('md5').update(bytes).digest('base64'),
          ...conditions,
        }),
      );
    try {
      await put({ IfNoneMatch: '*' }).catch((error: unknown) => {
        if (!NO_CONDITIONS.has(codeOf(error) ?? '')) throw error;
        return put({});
      });
    } catch (error) {
      if (statusOf(error) === NAME_TAKEN) throw new ObjectExistsError(file);
      throw error;
    }
    const pinned = await this.pin(file);
    if (pinned === undefined) throw new Error(`create ${file.bucket}:${file.key}: it was removed while it was stored`);
    return pinned;
  }

  async removeCreated(file: BucketFile, bytes: Uint8Array): Promise<void> {
    if (await holdsBytes(this, file, bytes)) await this.remove(file);
  }

  private async complete(upload: ObjectUpload, parts: readonly UploadedPart[], onlyNew: boolean): Promise<void> {
    const { file, uploadId } = upload;
    await this.client.send(
      new CompleteMultipartUploadCommand({
        Bucket: file.bucket,
        Key: file.key,
        UploadId: uploadId,
        MultipartUpload: { Parts: parts.map(({ part, etag }) => ({ PartNumber: part, ETag: etag })) },
        ...(onlyNew ? { IfNoneMatch: '*' } : {}),
      }),
    );
  }

  /** Whatever its class is: a name is taken also by what cannot be read. */
  private head({ bucket, key }: BucketFile): Promise<HeadObjectCommandOutput | undefined> {
    return this.answerOf(new HeadObjectCommand({ Bucket: bucket, Key: key }), (command) => this.client.send(command));
  }

  /** The answer, `undefined` when what was asked for is not there. */
  private async answerOf<C, A>(command: C, send: (command: C) => Promise<A>): Promise<A | undefined> {
    try {
      return await send(command);
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
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
