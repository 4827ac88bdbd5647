import { createHash } from 'node:crypto';
import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, link, lstat, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BucketFile, PinnedFile } from '@ims/contract';
import { ObjectExistsError, UploadGoneError } from './bucket.errors';
import { bucketFolder, checkParent, INCOMING, inParent, makeIncoming, syncDirectory } from './directory-folders';
import { hasCode, isFileMissing, pinOf, statObject } from './directory-object';
import { isBucketName } from './object-name';
import type { ObjectUpload, PartBody, UploadedPart } from './upload.port';

const DATA = 'data';
const EXISTS = new Set(['EEXIST']);
// Users can put files here, too: neither a link nor a pipe is written into.
const OWN_FILE = constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK;
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
    const bucket = await bucketFolder(this.root, file);
    // Said before anything is sent, not after hours of it.
    await checkParent(bucket, file);
    const folder = `upload-${createHash('sha256').update(`${options.owner}\0${file.key}`).digest('hex').slice(0, 32)}`;
    const incoming = await makeIncoming(bucket, file);
    const directory = join(incoming, folder);
    await mkdir(directory, { recursive: true });
    const handle = await open(join(directory, DATA), constants.O_CREAT | OWN_FILE, 0o666);
    try {
      const stats = await handle.stat({ bigint: true });
      if (!stats.isFile()) throw new Error(`upload of ${file.bucket}:${file.key}: ${DATA} is no file`);
      const identity = identityOf(stats);
      await handle.sync();
      await syncDirectory(directory);
      await syncDirectory(incoming);
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
      const bucket = await bucketFolder(this.root, file);
      const directory = await this.directoryOf(upload);
      const handle = await this.openData(upload, directory);
      try {
        const stored = new Map((await this.list(upload)).map((each) => [each.part, each]));
        const isWhole = parts.every(({ part, etag, sizeBytes }, n) => {
          const found = stored.get(part);
          const isFull = n === parts.length - 1 || sizeBytes === upload.partSizeBytes;
          return part === n + 1 && isFull && found?.etag === etag && found.sizeBytes === sizeBytes;
        });
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
    const bucket = await bucketFolder(this.root, file);
    await checkParent(bucket, file);
    const temporary = join(await makeIncoming(bucket, file), createdName(file.key));
    // What a dead process left may be the object already, under its second name: it must not be written into.
    await rm(temporary, { force: true });
    try {
      await writeSmallFile(temporary, bytes, 'wx');
      await linkInto(bucket, temporary, file);
    } finally {
      await rm(temporary, { force: true });
    }
    const stats = await statObject(this.root, file);
    if (stats === undefined) throw new Error(`create ${file.bucket}:${file.key}: it was removed while it was stored`);
    return pinOf(file, stats);
  }

  /** Removes what a `create` left that did not come to its end. */
  async dropCreated({ bucket, key }: BucketFile): Promise<void> {
    if (isBucketName(bucket)) await rm(join(this.root, bucket, INCOMING, createdName(key)), { force: true });
  }

  private async directoryOf({ file, uploadId }: ObjectUpload): Promise<string> {
    const [folder = ''] = uploadId.split('.');
    if (!/^upload-[0-9a-f]{32}$/.test(folder)) throw new UploadGoneError(file);
    return join(await bucketFolder(this.root, file), INCOMING, folder);
  }

  private async openData({ file, uploadId }: ObjectUpload, directory: string): Promise<FileHandle> {
    let handle: FileHandle;
    try {
      handle = await open(join(directory, DATA), OWN_FILE);
    } catch (error) {
      if (isFileMissing(error)) throw new UploadGoneError(file, { cause: error });
      throw error;
    }
    if (uploadId.endsWith(`.${identityOf(await handle.stat({ bigint: true }))}`)) return handle;
    await handle.close();
    throw new UploadGoneError(file);
  }
}

/** Name of a small object until it has its own. */
export const createdName = (key: string): string => `create-${createHash('sha256').update(key).digest('hex')}`;

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

async function writeSmallFile(path: string, content: string | Uint8Array, flag: 'w' | 'wx' = 'w'): Promise<void> {
  const handle = await open(path, flag);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Gives a file of the bucket its name, unless another one has it. */
const linkInto = (bucket: string, from: string, file: BucketFile): Promise<void> =>
  inParent(bucket, file, async (target) => {
    try {
      await link(from, target);
    } catch (error) {
      if (!hasCode(error, EXISTS)) throw error;
      // Not through a link that has the name: it is something else, wherever it leads.
      const [made, there] = await Promise.all([lstat(from, { bigint: true }), lstat(target, { bigint: true })]);
      if (identityOf(made) !== identityOf(there)) throw new ObjectExistsError(file);
    }
  });
