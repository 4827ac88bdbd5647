import { type BucketFile, ImsError } from '@ims/contract';

// Object stores limit a key to 1024 bytes of UTF-8.
const MAX_KEY_BYTES = 1024;

/**
 * `bucket:object` (ims-api 6.1, backends D1.1 row 1). Fails with IMG.0017 (not of this shape), IMG.0068 (no bucket), IMG.0109 (bad
 * characters in the bucket's name), IMG.0175 (blanks in the object's path).
 *
 * @example parseImageUrl('my-images:exports/db.qcow2') // { bucket: 'my-images', key: 'exports/db.qcow2' }
 */
export function parseImageUrl(url: string): BucketFile {
  const { bucket, key } = splitBucketUrl(url);
  if (/\s/.test(key)) throw new ImsError('IMG.0175');
  const components = key.split('/');
  const isPath = !components.some((component) => component === '' || component === '.' || component === '..');
  const isText = !/[\u0000-\u001f\u007f]/.test(key) && key.isWellFormed() && utf8Length(key) <= MAX_KEY_BYTES;
  if (!isPath || !isText) throw new ImsError('IMG.0017', 'the part after the colon must name an object');
  return { bucket, key };
}

/** The two halves of `bucket:object`, of which the first is checked. @throws ImsError IMG.0017, IMG.0068, IMG.0109 as `parseImageUrl` */
export function splitBucketUrl(url: string): BucketFile {
  const cut = url.indexOf(':');
  if (cut < 0) throw new ImsError('IMG.0017', 'it must be bucket:object');
  const bucket = url.slice(0, cut);
  const key = url.slice(cut + 1);
  if (bucket === '') throw new ImsError('IMG.0068');
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket) || bucket.includes('..')) throw new ImsError('IMG.0109');
  return { bucket, key };
}

export function utf8Length(text: string): number {
  let bytes = 0;
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return bytes;
}
