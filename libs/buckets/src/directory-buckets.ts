import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, rmdir, stat, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type BucketFile, ImsError, type PinnedFile } from '@ims/contract';
import { z } from 'zod';
import { BodyLengthError, ObjectNameError } from './bucket.errors';
import type { BucketInfo, BucketStore, SourceDescriptor } from './bucket.port';
import { bucketFolder, checkParent, inParent, makeIncoming } from './directory-folders';
import { hasCode, isFileMissing, locateObject, pinOf, statObject } from './directory-object';
import { DirectoryUploads } from './directory-upload';
import { holdsBytes } from './holds-bytes';
import { RESERVED_PREFIX, compareKeys, isBucketName } from './object-name';
import type { ObjectUpload, PartBody, UploadedPart } from './upload.port';

const DESCRIPTION_FILE = `${RESERVED_PREFIX}bucket.json`;

// Two short values; whatever is longer is something else.
const MAX_DESCRIPTION_BYTES = 4096;

const NOT_THERE = new Set(['ENOENT', 'ENOTDIR']);
const IS_A_FOLDER = new Set(['EISDIR', 'ENOTEMPTY', 'EEXIST']);

const description = z.object({
  region: z.string().optional(),
  storageClass: z.enum(['STANDARD', 'WARM', 'COLD']).optional(),
});

/**
 * Buckets as sub-directories of `root`; an object's key is its relative path. `.ims-bucket.json` inside a bucket may name another
 * region or storage class than the default. Files that users copy in by hand are objects at once.
 */
export class DirectoryBuckets implements BucketStore {
  private readonly uploads: DirectoryUploads;

  constructor(
    private readonly root: string,
    private readonly region: string,
  ) {
    this.uploads = new DirectoryUploads(root);
  }

  async describeBucket(bucket: string): Promise<BucketInfo | undefined> {
    if (!isBucketName(bucket)) return undefined;
    try {
      const stats = await stat(join(this.root, bucket));
      if (!stats.isDirectory()) return undefined;
    } catch (error) {
      if (isFileMissing(error)) return undefined;
      throw error;
    }
    const own = await this.readDescription(bucket);
    return { region: own.region ?? this.region, storageClass: own.storageClass ?? 'STANDARD' };
  }

  async pin(file: BucketFile): Promise<PinnedFile | undefined> {
    const stats = await statObject(this.root, file);
    return stats === undefined ? undefined : pinOf(file, stats);
  }

  describe(file: PinnedFile): SourceDescriptor {
    return { driver: 'directory', root: this.root, file };
  }

  /** Fails with `ObjectNameError` for a name that no store takes. An existing bucket stays as it is. */
  async createBucket(bucket: string, info: Partial<BucketInfo> = {}): Promise<void> {
    if (!isBucketName(bucket)) throw new ObjectNameError(bucket, 'is not a bucket name');
    await mkdir(join(this.root, bucket), { recursive: true });
    if (Object.keys(info).length > 0) {
      await writeFile(join(this.root, bucket, DESCRIPTION_FILE), JSON.stringify(description.parse(info)));
    }
  }

  /**
   * Writes a temporary file inside the bucket, syncs it and renames it: a reader sees the old object or the whole new one.
   * Fails with `ObjectNameError` or `BodyLengthError`; nothing is left of a failed call.
   */
  async put(file: BucketFile, body: NodeJS.ReadableStream | Uint8Array, sizeBytes?: number): Promise<PinnedFile> {
    const bucket = await bucketFolder(this.root, file);
    await checkParent(bucket, file);
    const temporary = join(await makeIncoming(bucket, file), randomUUID());
    try {
      const received = await writeDurably(temporary, body);
      if (sizeBytes !== undefined && received !== sizeBytes) {
        throw new BodyLengthError(file.bucket, file.key, sizeBytes, received);
      }
      await inParent(bucket, file, (target) => replace(temporary, target, file));
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    const pinned = await this.pin(file);
    if (pinned === undefined)
      throw new Error(`store ${file.bucket}:${file.key}: the object was removed while it was stored`);
    return pinned;
  }

  startUpload(file: BucketFile, options: { owner: string; partSizeBytes: number }): Promise<ObjectUpload> {
    return this.uploads.start(file, options);
  }

  /** An upload of the same owner is found by its name. */
  pendingUploads(): Promise<string[]> {
    return Promise.resolve([]);
  }

  putPart(upload: ObjectUpload, part: number, body: PartBody, signal?: AbortSignal): Promise<UploadedPart> {
    return this.uploads.putPart(upload, part, body, signal);
  }

  listParts(upload: ObjectUpload): Promise<UploadedPart[]> {
    return this.uploads.list(upload);
  }

  completeUpload(upload: ObjectUpload, parts: readonly UploadedPart[]): Promise<PinnedFile> {
    return this.uploads.complete(upload, parts);
  }

  abortUpload(upload: Pick<ObjectUpload, 'file' | 'uploadId'>): Promise<void> {
    return this.uploads.abort(upload);
  }

  objectOf(upload: ObjectUpload): Promise<PinnedFile | undefined> {
    return this.uploads.objectOf(upload);
  }

  createObject(file: BucketFile, bytes: Uint8Array): Promise<PinnedFile> {
    return this.uploads.create(file, bytes);
  }

  async removeCreated(file: BucketFile, bytes: Uint8Array): Promise<void> {
    await this.uploads.dropCreated(file);
    if (await holdsBytes(this, file, bytes)) await this.remove(file);
  }

  async *list(bucket: string, prefix = ''): AsyncIterable<PinnedFile> {
    if (!isBucketName(bucket)) return;
    yield* this.walk(bucket, '', prefix);
  }

  /** An object that does not exist counts as removed. */
  async remove(file: BucketFile): Promise<void> {
    const path = await locateObject(this.root, file);
    if (path === undefined) return;
    // The name, not what a link behind it points to.
    const name = join(this.root, file.bucket, file.key);
    try {
      await unlink(name);
    } catch (error) {
      if (isFileMissing(error)) return;
      throw error;
    }
    // Folders have no life of their own in an object store: an empty one would stand in the way of an object of that name.
    const bucket = join(this.root, file.bucket);
    for (let folder = dirname(name); folder !== bucket; folder = dirname(folder)) {
      try {
        await rmdir(folder);
      } catch {
        // Not empty, or another remove was first: both mean that the folder is nobody's leftover.
        return;
      }
    }
  }

  /** @throws ImsError IMG.0069 when the description cannot be read or is none (ims-api 15) */
  private async readDescription(bucket: string): Promise<z.infer<typeof description>> {
    try {
      return description.parse(JSON.parse((await readSmallFile(join(this.root, bucket, DESCRIPTION_FILE))) ?? '{}'));
    } catch (error) {
      // A disk that fails is no fault of the bucket and may work again: only what the file is or says refuses the bucket.
      if (isSystemError(error) && !isFileMissing(error)) throw error;
      throw new ImsError('IMG.0069', `${DESCRIPTION_FILE} of bucket ${bucket} is not valid`);
    }
  }

  private async *walk(bucket: string, folder: string, prefix: string): AsyncIterable<PinnedFile> {
    const entries = await readdir(join(this.root, bucket, folder), { withFileTypes: true }).catch((error: unknown) => {
      if (isFileMissing(error)) return [];
      throw error;
    });
    const keys = entries
      .map((entry) => folder + entry.name + (entry.isDirectory() ? '/' : ''))
      .filter((key) => !key.startsWith(RESERVED_PREFIX))
      .filter((key) => key.startsWith(prefix) || (key.endsWith('/') && prefix.startsWith(key)))
      .sort(compareKeys);
    for (const key of keys) {
      if (key.endsWith('/')) yield* this.walk(bucket, key, prefix);
      else {
        const pinned = await this.pin({ bucket, key });
        if (pinned !== undefined) yield pinned;
      }
    }
  }
}

const isSystemError = (error: unknown): boolean =>
  typeof error === 'object' && error !== null && 'syscall' in error && typeof error.syscall === 'string';

/**
 * Text of a file that users may have put there, `undefined` when there is none. A pipe would hold a thread of the process for good, a link
 * could name a device without end or a file of the host, and a large file would fill the memory of all jobs: each of them fails instead.
 */
async function readSmallFile(path: string): Promise<string | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (hasCode(error, NOT_THERE)) return undefined;
    throw error;
  }
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw new Error('it is no regular file');
    const bytes = Buffer.alloc(MAX_DESCRIPTION_BYTES + 1);
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, 0);
    if (bytesRead > MAX_DESCRIPTION_BYTES) throw new Error(`it is longer than ${MAX_DESCRIPTION_BYTES} bytes`);
    return bytes.toString('utf8', 0, bytesRead);
  } finally {
    await handle.close();
  }
}

async function writeDurably(path: string, body: NodeJS.ReadableStream | Uint8Array): Promise<number> {
  const handle = await open(path, 'wx');
  try {
    let written = 0;
    const chunks = body instanceof Uint8Array ? [body] : body;
    for await (const chunk of chunks) {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
      await handle.writeFile(bytes);
      written += bytes.length;
    }
    await handle.sync();
    return written;
  } finally {
    await handle.close();
  }
}

async function replace(temporary: string, target: string, file: BucketFile): Promise<void> {
  try {
    await rename(temporary, target);
  } catch (error) {
    if (hasCode(error, IS_A_FOLDER)) throw new ObjectNameError(file.key, 'is the name of a folder');
    throw error;
  }
}
