import type { BigIntStats } from 'node:fs';
import { constants } from 'node:fs';
import { open, realpath, stat, type FileHandle } from 'node:fs/promises';
import { join, sep } from 'node:path';
import type { BucketFile, PinnedFile } from '@ims/contract';
import { isBucketName, isObjectKey } from './object-name';

const GONE = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES', 'EPERM', 'ENXIO', 'ENAMETOOLONG']);

export function hasCode(error: unknown, codes: ReadonlySet<string>): boolean {
  // Not `instanceof Error`: under a test runner the file system's errors belong to another realm.
  return (
    typeof error === 'object' &&
    error !== null &&
    'code' in error &&
    typeof error.code === 'string' &&
    codes.has(error.code)
  );
}

export const isFileMissing = (error: unknown): boolean => hasCode(error, GONE);

/**
 * A new file, a rewrite, an append and a truncation each change at least one of the five. The time of modification can be set by whoever writes
 * (`cp --preserve`, `touch`), the time of change cannot; that a new owner or name changes it too only ends an import that may be repeated.
 */
export function etagOf(stats: BigIntStats): string {
  return [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].map((part) => part.toString(16)).join('-');
}

export function pinOf(file: BucketFile, stats: BigIntStats): PinnedFile {
  return {
    bucket: file.bucket,
    key: file.key,
    etag: etagOf(stats),
    sizeBytes: Number(stats.size),
    modifiedAt: stats.mtime.toISOString(),
  };
}

/**
 * Where an object's bytes lie, with every symbolic link resolved; `undefined` when there is no such regular file or when a link
 * leads out of its bucket.
 */
export async function locateObject(root: string, file: BucketFile): Promise<string | undefined> {
  if (!isBucketName(file.bucket) || !isObjectKey(file.key)) return undefined;
  try {
    // The bucket itself may be a link that the operator made (a mounted disk); what counts is that nothing inside leaves it.
    const bucket = await realpath(join(root, file.bucket));
    const object = await realpath(join(bucket, file.key));
    return object.startsWith(bucket + sep) ? object : undefined;
  } catch (error) {
    if (isFileMissing(error)) return undefined;
    throw error;
  }
}

export async function statObject(root: string, file: BucketFile): Promise<BigIntStats | undefined> {
  const path = await locateObject(root, file);
  if (path === undefined) return undefined;
  try {
    const stats = await stat(path, { bigint: true });
    return stats.isFile() ? stats : undefined;
  } catch (error) {
    if (isFileMissing(error)) return undefined;
    throw error;
  }
}

/** Opens an object for reading; `undefined` when there is none. */
export async function openObject(
  root: string,
  file: BucketFile,
): Promise<{ handle: FileHandle; path: string; stats: BigIntStats } | undefined> {
  const path = await locateObject(root, file);
  if (path === undefined) return undefined;
  let handle: FileHandle;
  try {
    // NONBLOCK: opening a FIFO somebody put there must not hang. NOFOLLOW: the resolved path may not have become a link meanwhile.
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (isFileMissing(error)) return undefined;
    throw error;
  }
  const stats = await handle.stat({ bigint: true });
  if (!stats.isFile()) {
    await handle.close();
    return undefined;
  }
  return { handle, path, stats };
}
