import { broken } from '../refusal';
import type { BlockLayout } from './block-layout';
import { emptyMap, MAX_BLOCKS } from './block-layout';
import type { FileProbe } from './file-probe';
import { isPowerOfTwo, u64be } from './file-probe';

export const VHD_COOKIE = 'conectix';
export const VHD_FOOTER_BYTES = 512;
const DYNAMIC_HEADER_BYTES = 1024;
const TYPE_FIXED = 2;
const TYPE_DYNAMIC = 3;
const TYPE_DIFFERENCING = 4;
const VHD_UNSTORED = 0xffffffff;

/** What the reader needs of a VHD that has passed every check. */
export type VhdLayout = { kind: 'fixed'; virtualSizeBytes: number } | ({ kind: 'dynamic' } & BlockLayout);

/**
 * Checks footer, dynamic header and block allocation table of a VHD (image-formats 1). The footer at the end counts;
 * a dynamic disk whose end footer has a bad checksum falls back to the copy at 0. Fails with `IMG.0057`.
 */
export async function inspectVhd(probe: FileProbe): Promise<VhdLayout> {
  const footer = soundFooter(probe);
  const type = footer.readUInt32BE(60);
  const virtualSizeBytes = u64be(footer, 48);
  if (type === TYPE_DIFFERENCING) throw broken('the VHD file is a differencing disk, which names a parent');
  if (type === TYPE_FIXED) {
    if (probe.startsWith(VHD_COOKIE)) throw broken('the VHD file has a header of a dynamic disk but is a fixed one');
    if (virtualSizeBytes > probe.sizeBytes - VHD_FOOTER_BYTES) throw broken('the VHD disk is larger than its file');
    return { kind: 'fixed', virtualSizeBytes };
  }
  if (type !== TYPE_DYNAMIC) throw broken('the VHD disk type is unknown');
  const headerOffset = u64be(footer, 16);
  if (headerOffset < VHD_FOOTER_BYTES || headerOffset % 512 !== 0) throw broken('the VHD header offset is impossible');
  const header = await probe.bytes(headerOffset, DYNAMIC_HEADER_BYTES, 'VHD dynamic header');
  if (header.subarray(0, 8).toString('latin1') !== 'cxsparse') throw broken('the VHD dynamic header is missing');
  if (header.readUInt32BE(36) !== onesComplementSum(header, 36))
    throw broken('the VHD dynamic header has a bad checksum');
  const batOffset = u64be(header, 16);
  const batEntries = header.readUInt32BE(28);
  const blockBytes = header.readUInt32BE(32);
  // qemu and the vendor write 2 MiB; 512 KiB and up are in the field.
  if (!isPowerOfTwo(blockBytes) || blockBytes < 512 * 1024 || blockBytes > 2 ** 28)
    throw broken('the VHD block size is out of range');
  const blocks = Math.ceil(virtualSizeBytes / blockBytes);
  if (blocks > batEntries) throw broken('the VHD block table is too small for the virtual size');
  if (blocks > MAX_BLOCKS) throw broken('the VHD block table is too large');
  if (batOffset % 512 !== 0) throw broken('the VHD block table is not aligned');
  probe.mustHold(batOffset, batEntries * 4, 'VHD block table');
  const hostOffsets = await readBat(probe, batOffset, blocks, blockBytes);
  return { kind: 'dynamic', virtualSizeBytes, blockBytes, hostOffsets };
}

async function readBat(probe: FileProbe, offset: number, blocks: number, blockBytes: number): Promise<Float64Array> {
  const hostOffsets = emptyMap(blocks);
  let index = 0;
  const bitmapBytes = vhdBitmapBytes(blockBytes);
  const storedBytes = bitmapBytes + blockBytes;
  let storedTotal = 0;
  for await (const piece of probe.pieces(offset, blocks * 4, 'VHD block table')) {
    for (let at = 0; at < piece.length; at += 4, index++) {
      const sector = piece.readUInt32BE(at);
      if (sector === VHD_UNSTORED) continue;
      if (sector === 0) throw broken('a VHD block lies on the header');
      probe.mustHold(sector * 512, storedBytes, 'VHD block');
      storedTotal += storedBytes;
      if (storedTotal > probe.sizeBytes) throw broken('VHD blocks are used more than once');
      hostOffsets[index] = sector * 512 + bitmapBytes;
    }
  }
  return hostOffsets;
}

/** Each stored block starts with a bitmap of its sectors, padded to whole sectors; for a disk without parent it carries nothing. */
const vhdBitmapBytes = (blockBytes: number): number => Math.ceil(blockBytes / 512 / 8 / 512) * 512;

function soundFooter(probe: FileProbe): Buffer {
  if (probe.sizeBytes < VHD_FOOTER_BYTES) throw broken('the VHD footer is cut off');
  const end = probe.tail.subarray(probe.tail.length - VHD_FOOTER_BYTES);
  if (end.subarray(0, 8).toString('latin1') !== VHD_COOKIE)
    throw broken('the VHD footer is missing: the file is cut off');
  if (isSound(end)) return end;
  const copy = probe.head.subarray(0, VHD_FOOTER_BYTES);
  // The copy stands in only for the dynamic disk it belongs to.
  if (probe.startsWith(VHD_COOKIE) && isSound(copy) && copy.readUInt32BE(60) === TYPE_DYNAMIC) return copy;
  throw broken('the VHD footer has a bad checksum');
}

const isSound = (footer: Buffer): boolean => footer.readUInt32BE(64) === onesComplementSum(footer, 64);

/** Ones complement of the byte sum, the checksum field taken as zero (image-formats 1). */
function onesComplementSum(bytes: Buffer, checksumAt: number): number {
  let sum = 0;
  for (const [at, byte] of bytes.entries()) if (at < checksumAt || at >= checksumAt + 4) sum += byte;
  return ~sum >>> 0;
}
