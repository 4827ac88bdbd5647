import { ObjectNameError } from './bucket.errors';

// Object stores limit a key to 1024 bytes of UTF-8, file systems one path component to 255.
const MAX_KEY_BYTES = 1024;
const MAX_COMPONENT_BYTES = 255;

/** Names that the directory driver keeps for itself (temporary files, bucket description); no object may use them. */
export const RESERVED_PREFIX = '.ims-';

/** Bucket names: 3 to 63 of a-z, 0-9, `-`, `.`; letter or digit at both ends; no two dots in a row. */
export function isBucketName(name: string): boolean {
  return /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) && !name.includes('..');
}

/** Fails with `ObjectNameError` unless `key` can be an object of any driver: relative, without `.`, `..`, NUL or empty components. */
export function checkObjectKey(key: string): void {
  if (key === '') throw new ObjectNameError(key, 'is empty');
  if (key.includes('\0')) throw new ObjectNameError(key, 'contains NUL');
  if (!key.isWellFormed()) throw new ObjectNameError(key, 'is not well-formed Unicode');
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) throw new ObjectNameError(key, `is longer than ${MAX_KEY_BYTES} bytes`);
  const components = key.split('/');
  for (const component of components) {
    if (component === '') throw new ObjectNameError(key, 'has an empty path component');
    if (component === '.' || component === '..') throw new ObjectNameError(key, 'has a "." or ".." component');
    if (Buffer.byteLength(component) > MAX_COMPONENT_BYTES) {
      throw new ObjectNameError(key, `has a component longer than ${MAX_COMPONENT_BYTES} bytes`);
    }
  }
  if (components[0]?.startsWith(RESERVED_PREFIX))
    throw new ObjectNameError(key, `starts with ${RESERVED_PREFIX}, which is reserved`);
}

export function isObjectKey(key: string): boolean {
  try {
    checkObjectKey(key);
    return true;
  } catch (error) {
    if (error instanceof ObjectNameError) return false;
    throw error;
  }
}

/** Order of keys in a listing: by UTF-8 bytes, as object stores list. */
export function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
