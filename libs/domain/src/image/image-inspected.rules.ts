import { type DiskFormat, ImsError } from '@ims/contract';

const GIB = 1024 ** 3;
// FMT-02: a normal import takes files up to 128 GB.
const MAX_FILE_GIB = 128;
// ims-api 17: a system disk has 1 TB at most.
const MAX_DISK_GIB = 1024;

/** File size of a normal import, before any byte moves; fails with IMG.0059. */
export function checkFileSize(sizeBytes: number): void {
  if (sizeBytes > MAX_FILE_GIB * GIB) throw new ImsError('IMG.0059');
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

/** An ISO image needs an ISO file, every other image a disk (ims-api 6.2); fails with IMG.0057. */
export function checkFormat(format: DiskFormat, virtualEnvType: string): void {
  if ((format === 'iso') === (virtualEnvType === 'IsoImage')) return;
  throw new ImsError(
    'IMG.0057',
    format === 'iso' ? 'the file is an ISO; register it with type IsoImage' : `the file is ${format}, not an ISO`,
  );
}
