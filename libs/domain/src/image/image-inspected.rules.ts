import { type BucketFile, type DiskFormat, ImsError } from '@ims/contract';

const GIB = 1024 ** 3;
// FMT-02: a normal import takes files up to 128 GB.
const MAX_FILE_GIB = 128;
// ims-api 17: a system disk has 1 TB at most.
const MAX_DISK_GIB = 1024;

// FMT-03: quick import takes files up to 1 TB.
const MAX_QUICK_FILE_GIB = 1024;

/** Longest file of an import in bytes (FMT-02, FMT-03). */
export const maxFileBytes = (quickImport: boolean): number => (quickImport ? MAX_QUICK_FILE_GIB : MAX_FILE_GIB) * GIB;

/** File size, before any byte moves; fails with IMG.0059, a quick import with IMG.0158. */
export function checkFileSize(sizeBytes: number, quickImport: boolean): void {
  if (sizeBytes <= maxFileBytes(quickImport)) return;
  if (quickImport) throw new ImsError('IMG.0158', `the file is larger than ${MAX_QUICK_FILE_GIB} GB`);
  throw new ImsError('IMG.0059');
}

/** Where the bitmap of a RAW file lies: beside it, under the same base name (ims-api 6.3, image-formats 2). `undefined` for a file that has that name itself. */
export function bitmapOf({ bucket, key }: BucketFile): BucketFile | undefined {
  const folder = key.lastIndexOf('/') + 1;
  const dot = key.lastIndexOf('.');
  const bitmap = `${dot > folder ? key.slice(0, dot) : key}.mf`;
  return bitmap === key ? undefined : { bucket, key: bitmap };
}

/** Quick import takes ZVHD2, and RAW with its bitmap, whose content says nothing to us (image-formats 2); fails with IMG.0158 (FMT-03, FMT-05, FMT-09). */
export function checkQuickFormat(format: DiskFormat, hasBitmap: boolean): void {
  if (format === 'zvhd2' || (format === 'raw' && hasBitmap)) return;
  throw new ImsError(
    'IMG.0158',
    format === 'raw'
      ? 'the bitmap is missing; put <base name>.mf beside the file'
      : `the file is ${format}; convert it to zvhd2, or to raw with its bitmap`,
  );
}

/**
 * `min_disk` against the disk found in the file (CRE-15): a server's disk of that size must hold the image.
 * Fails with IMG.0055; over 1 TB with IMG.0111, because no `min_disk` could hold it.
 */
export function minDiskCheck(virtualSizeBytes: number, minDiskGib: number): void {
  const neededGib = Math.ceil(virtualSizeBytes / GIB);
  if (neededGib > MAX_DISK_GIB)
    throw new ImsError('IMG.0111', `the disk in the file has ${neededGib} GB, ${MAX_DISK_GIB} are allowed`);
  if (neededGib > minDiskGib) {
    throw new ImsError('IMG.0055', `the disk in the file has ${neededGib} GB, min_disk is ${minDiskGib}`);
  }
}

/** A file that is kept is what its maker declared it to be, since that is what a download will be taken for (ims-api 2.2, 6.2 D, 12.7); fails with IMG.0057. */
export function checkKeptFormat(declared: DiskFormat, found: DiskFormat): void {
  if (found === declared) return;
  throw new ImsError('IMG.0057', `the file is ${found}, not ${declared}`);
}
