import { type BucketFile, checksumKeyOf, type ErrorCode, ImsError } from '@ims/contract';
import { splitBucketUrl, utf8Length } from './image-url';

const GIB = 2 ** 30;
/** The largest disk that is exported at all (EXP-03), and the largest that is exported in another way than the quick one (EXP-04). */
export const LARGEST_EXPORT_BYTES = 1024 * GIB;
export const LARGEST_NORMAL_EXPORT_BYTES = 128 * GIB;

/** What an operator may decide where the documents differ. */
export interface ExportSettings {
  /** Images above 128 GB may be exported in every format, as in some regions (EXP-04). */
  largeByNormal: boolean;
  /** "Less than 1 TB" is meant as it stands: an image of exactly 1 TB is refused (EXP-03). */
  belowLargest: boolean;
}
export const DEFAULT_EXPORT_SETTINGS: ExportSettings = { largeByNormal: false, belowLargest: false };

/** What decides whether an image may leave (ims-api 6.7, table 5-5). */
export interface ExportableImage {
  id: string;
  name: string;
  status: string;
  /** `__imagetype`: private, gold, market, shared (of somebody else). */
  imageType: string;
  virtualEnvType: string;
  /** An image of a whole server. */
  isWholeServer: boolean;
  backupId: string | undefined;
  isEncrypted: boolean;
  /** Of the marketplace image at the beginning of its line, at any depth. */
  productCode: string | undefined;
  /** `__platform` of the public image at the beginning of its line, at any depth. */
  publicPlatform: string | undefined;
  /** Its disk; while that lies underived in a file, `virtualSizeBytes` is the least it can be. */
  disk: { part: string; virtualSizeBytes: number; isDerived: boolean } | undefined;
  isBeingExported: boolean;
}

/** Platforms whose public images do not leave, nor what descends from them (EXP-09). CentOS is free. */
const KEPT_PLATFORMS: ReadonlySet<string> = new Set([
  'windows',
  'suse',
  'red hat',
  'redhat',
  'rhel',
  'ubuntu',
  'oracle',
  'oracle linux',
]);

type Rule = readonly [code: ErrorCode, broken: (image: ExportableImage) => boolean, why: string];

/** In the order in which they are told; each with its place in the checklist. */
const RULES: readonly Rule[] = [
  // EXP-05
  ['IMG.0046', ({ status }) => status !== 'active', 'the image is not active'],
  // A share lets its receiver use an image, not take it away.
  ['IMG.0106', ({ imageType }) => imageType === 'shared', 'its owner exports it'],
  // EXP-01
  ['IMG.0077', ({ imageType }) => imageType === 'gold' || imageType === 'public', 'only private images are exported'],
  // EXP-10
  ['IMG.0078', ({ imageType }) => imageType === 'market', 'it belongs to the marketplace'],
  ['IMG.0079', ({ productCode }) => productCode !== undefined, 'it was made from an image of the marketplace'],
  // EXP-08
  ['IMG.0128', ({ isWholeServer }) => isWholeServer, 'it is an image of a whole server'],
  ['IMG.0080', ({ backupId }) => backupId !== undefined, 'it was made from a backup'],
  ['IMG.0167', ({ virtualEnvType }) => virtualEnvType === 'IsoImage', 'an installation medium is no disk'],
  // EXP-09
  [
    'IMG.0071',
    ({ publicPlatform }) => publicPlatform !== undefined && KEPT_PLATFORMS.has(publicPlatform.toLowerCase()),
    'it was made from a public image whose system may not leave',
  ],
  ['IMG.0046', ({ disk }) => disk === undefined, 'the image has no bytes'],
  // ims-api 6.7
  ['IMG.0148', ({ isBeingExported }) => isBeingExported, 'wait until the export under way has ended'],
];

/** The largest disk that may be exported so, in bytes (EXP-03, EXP-04). */
export function largestExportBytes(isQuick: boolean, { largeByNormal, belowLargest }: ExportSettings): number {
  const largest = belowLargest ? LARGEST_EXPORT_BYTES - 1 : LARGEST_EXPORT_BYTES;
  return isQuick || largeByNormal ? largest : LARGEST_NORMAL_EXPORT_BYTES;
}

/** @throws ImsError IMG.0160 for a disk that only a quick export may take, IMG.0071 for one that none may (EXP-03, EXP-04) */
export function checkExportSize(virtualSizeBytes: number, maxDiskBytes: number): void {
  if (virtualSizeBytes <= maxDiskBytes) return;
  if (maxDiskBytes === LARGEST_NORMAL_EXPORT_BYTES && virtualSizeBytes <= LARGEST_EXPORT_BYTES)
    throw new ImsError('IMG.0160', 'set is_quick_export');
  throw new ImsError('IMG.0071', 'its disk is larger than 1 TB');
}

/**
 * Whether the image may leave in this way.
 *
 * @throws ImsError with the code of the first rule that is broken (ims-api 6.7), IMG.0105 for a quick export of an encrypted image (EXP-06)
 */
export function checkExportable(image: ExportableImage, isQuick: boolean, settings: ExportSettings): void {
  for (const [code, isBroken, why] of RULES) if (isBroken(image)) throw new ImsError(code, why);
  if (isQuick && image.isEncrypted) throw new ImsError('IMG.0105', 'an encrypted image has no quick export');
  checkExportSize(image.disk?.virtualSizeBytes ?? 0, largestExportBytes(isQuick, settings));
}

// Object stores limit a key to 1024 bytes of UTF-8, file systems one of its components to 255.
const MAX_KEY_BYTES = 1024;
const MAX_COMPONENT_BYTES = 255;

/**
 * `bucket:object` of what is to be made (ims-api 6.7). Room for the name of the sums beside it is left.
 *
 * @throws ImsError IMG.0017 (not of this shape), IMG.0068 (no bucket), IMG.0109 (bad characters in its name), IMG.0073 (no object name), IMG.0074
 * (it is too long), IMG.0075 (bad characters in it)
 */
export function parseBucketUrl(url: string): BucketFile {
  const { bucket, key } = splitBucketUrl(url);
  if (key === '' || key.endsWith('/')) throw new ImsError('IMG.0073');
  const longest = checksumKeyOf(key);
  const components = longest.split('/');
  if (utf8Length(longest) > MAX_KEY_BYTES || components.some((name) => utf8Length(name) > MAX_COMPONENT_BYTES))
    throw new ImsError(
      'IMG.0074',
      `with .sha256 it has ${MAX_KEY_BYTES} bytes at most, each part ${MAX_COMPONENT_BYTES}`,
    );
  const isPath = !components.some((component) => component === '' || component === '.' || component === '..');
  // Blanks could not be imported again (IMG.0175).
  const isText = !/[\u0000-\u001f\u007f\s\\]/.test(key) && key.isWellFormed() && !key.startsWith('.ims-');
  if (!isPath || !isText) throw new ImsError('IMG.0075');
  return { bucket, key };
}

/** @throws ImsError IMG.0069 when the bucket is out of reach or of another class than Standard, IMG.0058 when it is in another region (EXP-07) */
export function checkExportBucket(
  bucket: { region: string; storageClass: string } | undefined,
  { name, region }: { name: string; region: string },
): void {
  if (bucket === undefined) throw new ImsError('IMG.0069', `bucket ${name}`);
  if (bucket.region !== region)
    throw new ImsError('IMG.0058', `bucket ${name} is in ${bucket.region}, not in ${region}`);
  if (bucket.storageClass !== 'STANDARD')
    throw new ImsError('IMG.0069', `bucket ${name} is of class ${bucket.storageClass}, not STANDARD`);
}
