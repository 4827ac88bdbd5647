import { createHash } from 'node:crypto';
import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, link, mkdir, open, readdir, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { type BucketFile, ImsError, type PinnedFile } from '@ims/contract';
import { ObjectExistsError, ObjectNameError, UploadGoneError } from './bucket.errors';
import { hasCode, isFileMissing, pinOf, statObject } from './directory-object';
import { isBucketName, RESERVED_PREFIX, checkObjectKey } from './object-name';
import type { ObjectUpload, PartBody, UploadedPart } from './upload.port';

export const INCOMING = `${RESERVED_PREFIX}incoming`;
const DATA = 'data';
const EXISTS = new Set(['EEXIST']);
const NOT_A_FOLDER = new Set(['EEXIST', 'ENOTDIR']);
// Longest run that is compared with zeros at once; a hole is worth its page.
const ZEROS = Buffer.alloc(256 * 1024);

/**
 * Uploads into a directory: one file that all parts are written into, at their places, beside a record of each part that is durable. Complete, it
 * gets its name by `link`, which never replaces a file. What tells the finished object from another one of its name is the file itself: its inode
 * and the time it was born, both part of the upload's id.
 */
export class DirectoryUploads {
  constructor(private readonly root: string) {}

  async start(file: BucketFile, options: { owner: string; partSizeBytes: number }): Promise<ObjectUpload> {
    const bucket = await this.bucketOf(file);
    const folder = `upload-${createHash('sha256').update(`${options.owner}\0${file.key}`).digest('hex').slice(0, 32)}`;
    const directory = join(bucket, INCOMING, folder);
    await mkdir(directory, { recursive: true });
    const handle = await open(join(directory, DATA), 'a');
    try {
      const identity = identityOf(await handle.stat({ bigint: true }));
      await handle.sync();
      await syncDirectory(directory);
      await syncDirectory(join(bucket, INCOMING));
      return { file: { bucket: file.bucket, key: file.key }, uploadId: `${folder}.${identity}`, ...options };
    } finally {
      await handle.close();
    }
  }

  async putPart(upload: ObjectUpload, part: number, body: PartBody, signal?: AbortSignal): Promise<UploadedPart> {
    const directory = await this.directoryOf(upload);
    const handle = await this.openData(upload, directory);
    try {
      const { size } = await handle.stat();
      let at = (part - 1) * upload.partSizeBytes;
      const digest = createHash('md5');
      for (const piece of body.pieces) {
        signal?.throwIfAborted();
        digest.update(piece);
        // Behind the end of the file there is nothing that a hole would not read as.
        if (at < size || !isZero(piece)) await writeFully(handle, piece, at);
        at += piece.length;
      }
      if (!digest.digest().equals(body.md5))
        throw new Error(`part ${part} of ${upload.file.bucket}:${upload.file.key}: differs from its checksum`);
      await handle.datasync();
    } finally {
      await handle.close();
    }
    const etag = body.md5.toString('hex');
    const record = join(directory, `part-${part}`);
    try {
      await writeSmallFile(`${record}.new`, `${etag} ${body.sizeBytes}`);
      await rename(`${record}.new`, record);
      await syncDirectory(directory);
    } catch (error) {
      if (isFileMissing(error)) throw new UploadGoneError(upload.file, { cause: error });
      throw error;
    }
    return { part, etag, sizeBytes: body.sizeBytes };
  }

  async list(upload: ObjectUpload): Promise<UploadedPart[]> {
    try {
      const directory = await this.directoryOf(upload);
      const parts: UploadedPart[] = [];
      for (const name of await readdir(directory)) {
        const part = /^part-(\d+)$/.exec(name)?.[1];
        if (part === undefined) continue;
        const [etag = '', sizeBytes = ''] = (await readFile(join(directory, name), 'utf8')).split(' ');
        parts.push({ part: Number(part), etag, sizeBytes: Number(sizeBytes) });
      }
      return parts.sort((a, b) => a.part - b.part);
    } catch (error) {
      if (error instanceof UploadGoneError || isFileMissing(error)) return [];
      throw error;
    }
  }

  async complete(upload: ObjectUpload, parts: readonly UploadedPart[]): Promise<PinnedFile> {
    const { file } = upload;
    const before = await this.objectOf(upload);
    if (before === undefined) {
      const bucket = await this.bucketOf(file);
      const directory = await this.directoryOf(upload);
      const handle = await this.openData(upload, directory);
      try {
        const stored = await this.list(upload);
        const isWhole = parts.every(
          ({ part, etag, sizeBytes }, n) =>
            part === n + 1 &&
            (n === parts.length - 1 || sizeBytes === upload.partSizeBytes) &&
            stored.some((each) => each.part === part && each.etag === etag && each.sizeBytes === sizeBytes),
        );
        if (!isWhole) throw new Error(`complete ${file.bucket}:${file.key}: a part of it is missing or another one`);
        await handle.truncate(parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
        await handle.sync();
      } finally {
        await handle.close();
      }
      await linkInto(bucket, join(directory, DATA), file);
    }
    await this.abort(upload);
    const pinned = await this.objectOf(upload);
    if (pinned === undefined) throw new UploadGoneError(file);
    return pinned;
  }

  async abort({ file, uploadId }: Pick<ObjectUpload, 'file' | 'uploadId'>): Promise<void> {
    const [folder = ''] = uploadId.split('.');
    if (!isBucketName(file.bucket) || !/^upload-[0-9a-f]{32}$/.test(folder)) return;
    await rm(join(this.root, file.bucket, INCOMING, folder), { recursive: true, force: true });
  }

  async objectOf(upload: ObjectUpload): Promise<PinnedFile | undefined> {
    const stats = await statObject(this.root, upload.file);
    if (stats === undefined || !upload.uploadId.endsWith(`.${identityOf(stats)}`)) return undefined;
    return pinOf(upload.file, stats);
  }

  async create(file: BucketFile, bytes: Uint8Array): Promise<PinnedFile> {
    const bucket = await this.bucketOf(file);
    const name = createHash('sha256').update(file.key).update('\0').update(bytes).digest('hex');
    const temporary = join(bucket, INCOMING, `create-${name}`);
    await mkdir(dirname(temporary), { recursive: true });
    try {
      await writeSmallFile(temporary, bytes);
      await linkInto(bucket, temporary, file);
    } finally {
      await rm(temporary, { force: true });
    }
    const stats = await statObject(this.root, file);
    if (stats === undefined) throw new Error(`create ${file.bucket}:${file.key}: it was removed while it was stored`);
    return pinOf(file, stats);
  }

  private async bucketOf({ bucket, key }: BucketFile): Promise<string> {
    if (!isBucketName(bucket)) throw new ObjectNameError(bucket, 'is not a bucket name');
    checkObjectKey(key);
    try {
      return await realpath(join(this.root, bucket));
    } catch (error) {
      if (isFileMissing(error)) throw new ImsError('IMG.0069', `bucket ${bucket}`);
      throw error;
    }
  }

  private async directoryOf({ file, uploadId }: ObjectUpload): Promise<string> {
    const [folder = ''] = uploadId.split('.');
    if (!/^upload-[0-9a-f]{32}$/.test(folder)) throw new UploadGoneError(file);
    return join(await this.bucketOf(file), INCOMING, folder);
  }

  private async openData({ file, uploadId }: ObjectUpload, directory: string): Promise<FileHandle> {
    let handle: FileHandle;
    try {
      handle = await open(join(directory, DATA), constants.O_RDWR | constants.O_NOFOLLOW);
    } catch (error) {
      if (isFileMissing(error)) throw new UploadGoneError(file, { cause: error });
      throw error;
    }
    if (uploadId.endsWith(`.${identityOf(await handle.stat({ bigint: true }))}`)) return handle;
    await handle.close();
    throw new UploadGoneError(file);
  }
}

/** An inode is given away again, the nanosecond it was born is not. */
const identityOf = ({ dev, ino, birthtimeNs }: BigIntStats): string =>
  [dev, ino, birthtimeNs].map((part) => part.toString(16)).join('-');

function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const piece = bytes.subarray(at, at + ZEROS.length);
    if (ZEROS.compare(piece, 0, piece.length, 0, piece.length) !== 0) return false;
  }
  return true;
}

async function writeFully(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

async function writeSmallFile(path: string, content: string | Uint8Array): Promise<void> {
  const handle = await open(path, 'w');
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Gives a file of the bucket its name, unless another one has it. */
async function linkInto(bucket: string, from: string, file: BucketFile): Promise<void> {
  const target = join(bucket, file.key);
  const parent = dirname(target);
  try {
    await mkdir(parent, { recursive: true });
  } catch (error) {
    if (hasCode(error, NOT_A_FOLDER)) throw new ObjectNameError(file.key, 'lies under an object that is not a folder');
    throw error;
  }
  const resolved = await realpath(parent);
  if (resolved !== bucket && !resolved.startsWith(bucket + sep))
    throw new ObjectNameError(file.key, 'leads out of its bucket');
  try {
    await link(from, target);
  } catch (error) {
    if (!hasCode(error, EXISTS)) throw error;
    const [made, there] = await Promise.all([stat(from, { bigint: true }), stat(target, { bigint: true })]);
    if (identityOf(made) !== identityOf(there)) throw new ObjectExistsError(file);
  }
  await syncDirectory(parent);
}

/** A name is durable only once its directory is. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
