import { broken } from '../refusal';
import type { FileProbe } from './file-probe';
import { u64be } from './file-probe';

export const QCOW_MAGIC = Buffer.from([0x51, 0x46, 0x49, 0xfb]);

/** What the reader needs of a qcow2 header that has passed every check. */
export interface Qcow2Layout {
  virtualSizeBytes: number;
  clusterBits: number;
  l1Offset: number;
  /** Entries that the virtual size needs; the table may have more. */
  l1Entries: number;
  compression: 'zlib' | 'zstd';
}

const INCOMPATIBLE_CORRUPT = 1n << 1n;
const INCOMPATIBLE_DATA_FILE = 1n << 2n;
const INCOMPATIBLE_COMPRESSION = 1n << 3n;
const INCOMPATIBLE_EXTENDED_L2 = 1n << 4n;
// Bit 0 (dirty) only says that refcounts may be stale, and a read-only reader does not look at them.
const INCOMPATIBLE_KNOWN = 0b11111n;

const EXTENSION_END = 0;
const EXTENSION_DATA_FILE = 0x44415441;
const EXTENSION_ENCRYPTION = 0x0537be77;

// image-formats 1, also qemu's own limit: 32 MiB of L1 table.
const MAX_L1_BYTES = 32 * 1024 * 1024;
// qemu's limits (block/qcow2.h): 8 MiB of refcount table, 65536 snapshots.
const MAX_REFCOUNT_TABLE_BYTES = 8 * 1024 * 1024;
const MAX_SNAPSHOTS = 65536;
// Bits 9..55 of an L1 or L2 entry are the host offset.
const OFFSET_MASK = 0x00fffffffffffe00n;

/**
 * Checks a qcow2 header, version 2 or 3, and its L1 table (image-formats 1). Fails with `IMG.0057`.
 * Refcounts and internal snapshots are only checked for lying inside the file: reading does not need them.
 */
export async function inspectQcow2(probe: FileProbe): Promise<Qcow2Layout> {
  const { head } = probe;
  if (head.length < 72) throw broken('the qcow2 header is cut off');
  const version = head.readUInt32BE(4);
  if (u64be(head, 8) !== 0) throw broken('the qcow2 file names a backing file');
  if (head.readUInt32BE(32) !== 0) throw broken('the qcow2 file is encrypted');
  const clusterBits = head.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21) throw broken('the qcow2 cluster size is out of range');
  const clusterBytes = 2 ** clusterBits;

  const compression = version === 3 ? inspectVersion3(head, clusterBytes) : 'zlib';
  inspectExtensions(head, version === 3 ? head.readUInt32BE(100) : 72, clusterBytes);

  const virtualSizeBytes = u64be(head, 24);
  const l1Size = head.readUInt32BE(36);
  const l1Offset = u64be(head, 40);
  if (l1Size * 8 > MAX_L1_BYTES) throw broken('the qcow2 L1 table is too large');
  const guestBytesPerL1Entry = clusterBytes * (clusterBytes / 8);
  const l1Entries = Math.ceil(virtualSizeBytes / guestBytesPerL1Entry);
  if (l1Entries > l1Size) throw broken('the qcow2 L1 table is too small for the virtual size');
  if (l1Offset % clusterBytes !== 0) throw broken('the qcow2 L1 table is not aligned to a cluster');
  probe.mustHold(l1Offset, l1Size * 8, 'qcow2 L1 table');

  const refcountBytes = head.readUInt32BE(56) * clusterBytes;
  if (refcountBytes === 0 || refcountBytes > MAX_REFCOUNT_TABLE_BYTES)
    throw broken('the qcow2 refcount table has an impossible size');
  if (u64be(head, 48) % clusterBytes !== 0) throw broken('the qcow2 refcount table is not aligned to a cluster');
  probe.mustHold(u64be(head, 48), refcountBytes, 'qcow2 refcount table');

  const snapshots = head.readUInt32BE(60);
  if (snapshots > MAX_SNAPSHOTS) throw broken('the qcow2 file has too many snapshots');
  // A snapshot's entry has at least 40 bytes.
  if (snapshots > 0) probe.mustHold(u64be(head, 64), snapshots * 40, 'qcow2 snapshot table');

  await inspectL1(probe, l1Offset, l1Entries, clusterBytes);
  return { virtualSizeBytes, clusterBits, l1Offset, l1Entries, compression };
}

function inspectVersion3(head: Buffer, clusterBytes: number): 'zlib' | 'zstd' {
  if (head.length < 112) throw broken('the qcow2 header is cut off');
  const headerBytes = head.readUInt32BE(100);
  if (headerBytes < 104 || headerBytes % 8 !== 0 || headerBytes > clusterBytes)
    throw broken('the qcow2 header length is out of range');
  const features = head.readBigUInt64BE(72);
  if (features & INCOMPATIBLE_CORRUPT) throw broken('the qcow2 file is marked as corrupt');
  if (features & INCOMPATIBLE_DATA_FILE) throw broken('the qcow2 file keeps its data in another file');
  if (features & INCOMPATIBLE_EXTENDED_L2)
    throw broken('the qcow2 file has extended L2 entries, which are not supported');
  if (features & ~INCOMPATIBLE_KNOWN) throw broken('the qcow2 file has an unknown incompatible feature');
  if (head.readUInt32BE(96) > 6) throw broken('the qcow2 refcount width is out of range');
  const type = headerBytes > 104 ? head.readUInt8(104) : 0;
  if (type > 1) throw broken('the qcow2 compression type is unknown');
  if ((type !== 0) !== ((features & INCOMPATIBLE_COMPRESSION) !== 0n))
    throw broken('the qcow2 compression type contradicts its feature bit');
  return type === 1 ? 'zstd' : 'zlib';
}

function inspectExtensions(head: Buffer, start: number, clusterBytes: number): void {
  const limit = Math.min(clusterBytes, head.length);
  let at = start;
  while (at + 8 <= limit) {
    const type = head.readUInt32BE(at);
    const length = head.readUInt32BE(at + 4);
    if (type === EXTENSION_END) return;
    if (type === EXTENSION_DATA_FILE) throw broken('the qcow2 file names an external data file');
    if (type === EXTENSION_ENCRYPTION) throw broken('the qcow2 file is encrypted');
    if (length > limit - at - 8) throw broken('a qcow2 header extension is longer than the header');
    at += 8 + Math.ceil(length / 8) * 8;
  }
}

async function inspectL1(probe: FileProbe, offset: number, entries: number, clusterBytes: number): Promise<void> {
  for await (const piece of probe.pieces(offset, entries * 8, 'qcow2 L1 table')) {
    for (let at = 0; at < piece.length; at += 8) {
      const table = Number(piece.readBigUInt64BE(at) & OFFSET_MASK);
      if (table === 0) continue;
      if (table % clusterBytes !== 0) throw broken('a qcow2 L2 table is not aligned to a cluster');
      probe.mustHold(table, clusterBytes, 'qcow2 L2 table');
    }
  }
}
