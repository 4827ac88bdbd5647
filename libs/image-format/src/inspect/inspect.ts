import type { ByteSource } from '@ims/buckets';
import type { DiskFormat } from '@ims/contract';
import { ImsError } from '@ims/contract';
import type { Inspection } from '../disk-reader';
import { broken, unlisted } from '../refusal';
import { inspectZvhd, inspectZvhd2 } from '../zvhd';
import { detect } from './detect';
import { FileProbe } from './file-probe';
import { inspectQcow } from './qcow.inspect';
import { inspectQcow2 } from './qcow2.inspect';
import { inspectQed } from './qed.inspect';
import { inspectVdi } from './vdi.inspect';
import { inspectVhd } from './vhd.inspect';
import { inspectVhdx } from './vhdx.inspect';
import { inspectVmdk } from './vmdk.inspect';

const GIB = 2 ** 30;
// Normal import takes files of up to 128 GB (image-formats 2, IMG.0059).
const MAX_FILE_BYTES = 128 * GIB;
// The largest disk an image may have: a data disk of 2048 GiB (image-formats 2, IMG.0055).
const MAX_VIRTUAL_BYTES = 2048 * GIB;

export interface InspectOptions {
  /** Longer files are refused with `IMG.0059`. Bytes; default 128 GiB. */
  maxFileBytes?: number;
  /** Larger disks are refused with `IMG.0055`. Bytes; default 2 TiB, the largest data disk. */
  maxVirtualBytes?: number;
  /** Only an ISO image may be an ISO 9660 file; as a disk it is refused. Default false. */
  acceptIso?: boolean;
  signal?: AbortSignal;
}

/**
 * Finds out what a file is before any converter sees it, by our own bounded parser (image-formats 1). A file name or the caller's word is never asked.
 * Reads the first 64 KiB, the last 4 KiB and the tables that the format's row needs; no length read from the file decides an allocation.
 *
 * Fails with `IMG.0057` (listed format but empty, broken, hostile or several formats in one), `IMG.0072` (not a listed format), `IMG.0059` (file too long)
 * or `IMG.0055` (virtual size over every limit).
 *
 * @example const { format, virtualSizeBytes } = await inspect(await openSource(descriptor));
 */
export async function inspect(source: ByteSource, options: InspectOptions = {}): Promise<Inspection> {
  if (source.sizeBytes === 0) throw broken('the file is empty');
  if (source.sizeBytes > (options.maxFileBytes ?? MAX_FILE_BYTES)) throw new ImsError('IMG.0059');
  const probe = await FileProbe.of(source, options.signal);
  const format = detect(probe, options.acceptIso ?? false);
  const virtualSizeBytes = await virtualSizeOf(format, probe, source);
  if (virtualSizeBytes === 0) throw broken('the disk is empty');
  if (virtualSizeBytes % 512 !== 0) throw broken('the virtual size is not whole sectors');
  if (virtualSizeBytes > (options.maxVirtualBytes ?? MAX_VIRTUAL_BYTES))
    throw new ImsError('IMG.0055', 'the disk in the file is larger than the largest disk');
  return { format, virtualSizeBytes };
}

async function virtualSizeOf(format: DiskFormat, probe: FileProbe, source: ByteSource): Promise<number> {
  switch (format) {
    case 'qcow2':
      return (await inspectQcow2(probe)).virtualSizeBytes;
    case 'qcow':
      return inspectQcow(probe);
    case 'qed':
      return inspectQed(probe);
    case 'vmdk':
      return (await inspectVmdk(probe)).virtualSizeBytes;
    case 'vhd':
      return (await inspectVhd(probe)).virtualSizeBytes;
    case 'vhdx':
      return (await inspectVhdx(probe)).virtualSizeBytes;
    case 'vdi':
      return (await inspectVdi(probe)).virtualSizeBytes;
    case 'zvhd':
      return (await inspectZvhd(source)).virtualSizeBytes;
    case 'zvhd2':
      return (await inspectZvhd2(source)).virtualSizeBytes;
    case 'raw':
      // Detection has checked that this is whole sectors.
      return probe.sizeBytes;
    case 'iso':
      // An ISO is stored as it is and presented in whole sectors.
      return Math.ceil(probe.sizeBytes / 512) * 512;
    default:
      format satisfies never;
      throw unlisted('the file is of no listed format');
  }
}

export type DiskKind = 'system' | 'data';

// Wire limits of min_disk (image-formats 2, IMG.0055). A data disk beside a system disk may be small; the call that it came by has its own floor.
const MIN_DISK_RANGE = { system: { min: 1, max: 1024 }, data: { min: 1, max: 2048 } } as const;

/**
 * Checks the wished disk size in GiB against its range and the disk in the file (image-formats 2): fails with `IMG.0055`.
 *
 * @example checkMinDisk(40, inspection.virtualSizeBytes);
 */
export function checkMinDisk(minDiskGib: number, virtualSizeBytes: number, kind: DiskKind = 'system'): void {
  const { min, max } = MIN_DISK_RANGE[kind];
  if (!Number.isInteger(minDiskGib) || minDiskGib < min || minDiskGib > max)
    throw new ImsError('IMG.0055', `min_disk must be a whole number from ${min} to ${max}`);
  const needed = Math.ceil(virtualSizeBytes / GIB);
  if (minDiskGib < needed)
    throw new ImsError('IMG.0055', `min_disk is ${minDiskGib} GiB but the disk in the file has ${needed} GiB`);
}
