import { lstat, mkdir, open, realpath, stat } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { type BucketFile, ImsError } from '@ims/contract';
import { ObjectNameError } from './bucket.errors';
import { hasCode, isFileMissing } from './directory-object';
import { checkObjectKey, isBucketName, RESERVED_PREFIX } from './object-name';

/** Folder of a bucket for what is being written. */
export const INCOMING = `${RESERVED_PREFIX}incoming`;

const NOT_THERE = new Set(['ENOENT', 'ENOTDIR', 'ELOOP']);
const NOT_A_FOLDER = new Set(['EEXIST', 'ENOTDIR', 'ELOOP']);
const MISSING = new Set(['ENOENT']);
// Whoever removes the last object of a folder removes the folder: as many may do so at the same moment as a worker has transfers, and a few more.
const TRIES = 20;

/**
 * Where the bucket of a file lies, with every link resolved: the bucket itself may be one that the operator made.
 *
 * @throws ObjectNameError for a name that no store takes, ImsError IMG.0069 when the bucket is not there
 */
export async function bucketFolder(root: string, { bucket, key }: BucketFile): Promise<string> {
  if (!isBucketName(bucket)) throw new ObjectNameError(bucket, 'is not a bucket name');
  checkObjectKey(key);
  try {
    return await realpath(join(root, bucket));
  } catch (error) {
    if (isFileMissing(error)) throw new ImsError('IMG.0069', `bucket ${bucket}`);
    throw error;
  }
}

/** Fails with `ObjectNameError` where the folder of a name cannot be made inside of its bucket; makes nothing. */
export async function checkParent(bucket: string, { key }: BucketFile): Promise<void> {
  await checkInside(bucket, dirname(join(bucket, key)), key);
}

/**
 * Does something in the folder of an object, which is made where it is missing, and again where somebody else has removed it meanwhile.
 *
 * @throws ObjectNameError
 */
export async function inParent(bucket: string, { key }: BucketFile, act: (target: string) => Promise<void>) {
  const target = join(bucket, key);
  for (let tries = 1; ; tries += 1) {
    try {
      const parent = await makeInside(bucket, dirname(target), key);
      await act(target);
      return await syncDirectory(parent);
    } catch (error) {
      if (!hasCode(error, MISSING) || tries === TRIES) throw error;
    }
  }
}

/** The folder of what is being written, made where it is missing. @throws ObjectNameError */
export const makeIncoming = (bucket: string, { key }: BucketFile): Promise<string> =>
  makeInside(bucket, join(bucket, INCOMING), key);

/** A name is durable only once its directory is. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function makeInside(bucket: string, folder: string, key: string): Promise<string> {
  // Before anything is made: a link could lead it to anywhere.
  await checkInside(bucket, folder, key);
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    if (hasCode(error, NOT_A_FOLDER)) throw new ObjectNameError(key, 'lies under an object that is not a folder');
    throw error;
  }
  await checkInside(bucket, folder, key);
  return folder;
}

/** Looks at the nearest folder that is there. */
async function checkInside(bucket: string, folder: string, key: string): Promise<void> {
  for (let at = folder; at !== bucket;) {
    try {
      const resolved = await realpath(at);
      if (resolved !== bucket && !resolved.startsWith(bucket + sep))
        throw new ObjectNameError(key, 'leads out of its bucket');
      if ((await stat(resolved)).isDirectory()) return;
      throw new ObjectNameError(key, 'lies under an object that is not a folder');
    } catch (error) {
      if (!hasCode(error, NOT_THERE)) throw error;
      const there = await lstat(at).catch((reason: unknown) => {
        if (!hasCode(reason, NOT_THERE)) throw reason;
        return undefined;
      });
      // A link to nowhere is no folder, and none can be made in its place. Anything else has come since, and is looked at again.
      if (there?.isSymbolicLink() === true) throw new ObjectNameError(key, 'lies under an object that is not a folder');
      if (there === undefined) at = dirname(at);
    }
  }
}
