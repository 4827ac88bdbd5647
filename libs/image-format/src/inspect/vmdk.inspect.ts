import { broken } from '../refusal';
import type { FileProbe } from './file-probe';
import { isPowerOfTwo, u64le } from './file-probe';

export const VMDK_MAGIC = 'KDMV';
export const VMDK_TEXT = '# Disk DescriptorFile';
const HEADER_BYTES = 512;
const FLAG_ZEROED_GRAIN = 1 << 2;
const FLAG_COMPRESSED = 1 << 16;
const FLAG_MARKERS = 1 << 17;
// The grain directory of a stream is only known at its end: a copy of the header lies in the last 1024 bytes.
const DIRECTORY_AT_END = 0xffffffffffffffffn;
const MARKER_FOOTER = 3;
// Real descriptors are below 1 KiB; writers reserve 10 KiB (20 sectors) and qemu up to 64 KiB.
const MAX_DESCRIPTOR_BYTES = 64 * 1024;
// 2 TiB at the smallest accepted grain (4 KiB) needs a directory of 4 MiB.
const MAX_DIRECTORY_BYTES = 4 * 1024 * 1024;

/** What the reader needs of a VMDK that has passed every check. */
export interface VmdkLayout {
  virtualSizeBytes: number;
  grainBytes: number;
  grainsPerTable: number;
  directoryOffset: number;
  directoryEntries: number;
  /** Grains are zlib streams behind a marker (streamOptimized). */
  isCompressed: boolean;
  /** Entry 1 of a grain table means a grain of zeros. */
  hasZeroGrains: boolean;
}

/** Checks a sparse VMDK: header, footer, embedded descriptor and grain directory (image-formats 1). Fails with `IMG.0057`. */
export async function inspectVmdk(probe: FileProbe): Promise<VmdkLayout> {
  const { head } = probe;
  if (head.length < HEADER_BYTES) throw broken('the VMDK header is cut off');
  const version = head.readUInt32LE(4);
  if (version < 1 || version > 3) throw broken('the VMDK version is unknown');
  const descriptor = await inspectDescriptor(probe);
  const header = head.readBigUInt64LE(56) === DIRECTORY_AT_END ? await footerOf(probe) : head.subarray(0, HEADER_BYTES);
  const flags = header.readUInt32LE(8);
  const isCompressed = (flags & FLAG_COMPRESSED) !== 0;
  if (isCompressed !== (descriptor.createType === 'streamOptimized'))
    throw broken('the VMDK header contradicts its descriptor');
  if (isCompressed && (header.readUInt16LE(77) !== 1 || (flags & FLAG_MARKERS) === 0))
    throw broken('the VMDK compression is unknown');
  const capacity = u64le(header, 12);
  if (capacity !== descriptor.sectors) throw broken('the VMDK capacity contradicts its descriptor');
  const grainSectors = u64le(header, 20);
  // qemu: at most 64 MiB; VMware: a power of two above 8 sectors. 128 sectors is what everybody writes.
  if (!isPowerOfTwo(grainSectors) || grainSectors < 8 || grainSectors > 2 ** 17)
    throw broken('the VMDK grain size is out of range');
  const grainsPerTable = header.readUInt32LE(44);
  // 512 by the specification, and in every file seen; a table then has 2 KiB.
  if (grainsPerTable !== 512) throw broken('the VMDK grain table has an unusual size');
  const directoryEntries = Math.ceil(capacity / (grainSectors * grainsPerTable));
  if (directoryEntries * 4 > MAX_DIRECTORY_BYTES) throw broken('the VMDK grain directory is too large');
  const directoryOffset = u64le(header, 56) * 512;
  if (directoryOffset < HEADER_BYTES) throw broken('the VMDK grain directory lies on the header');
  for await (const piece of probe.pieces(directoryOffset, directoryEntries * 4, 'VMDK grain directory')) {
    for (let at = 0; at < piece.length; at += 4) {
      const table = piece.readUInt32LE(at);
      if (table !== 0) probe.mustHold(table * 512, grainsPerTable * 4, 'VMDK grain table');
    }
  }
  return {
    virtualSizeBytes: capacity * 512,
    grainBytes: grainSectors * 512,
    grainsPerTable,
    directoryOffset,
    directoryEntries,
    isCompressed,
    hasZeroGrains: (flags & FLAG_ZEROED_GRAIN) !== 0,
  };
}

async function footerOf(probe: FileProbe): Promise<Buffer> {
  const end = await probe.bytes(probe.sizeBytes - 1536, 1536, 'VMDK footer');
  if (end.readUInt32LE(8) !== 0 || end.readUInt32LE(12) !== MARKER_FOOTER)
    throw broken('the VMDK footer is missing: the file is cut off');
  const footer = end.subarray(512, 1024);
  if (footer.subarray(0, 4).toString('latin1') !== VMDK_MAGIC) throw broken('the VMDK footer is not a header');
  if (footer.readBigUInt64LE(56) === DIRECTORY_AT_END) throw broken('the VMDK footer has no grain directory');
  // Two headers that describe different disks would be two files in one.
  for (const [from, to] of [
    [4, 48],
    [77, 79],
  ] as const) {
    if (!footer.subarray(from, to).equals(probe.head.subarray(from, to)))
      throw broken('the VMDK footer contradicts the header');
  }
  return footer;
}

interface EmbeddedDescriptor {
  createType: 'monolithicSparse' | 'streamOptimized';
  sectors: number;
}

async function inspectDescriptor(probe: FileProbe): Promise<EmbeddedDescriptor> {
  const offset = u64le(probe.head, 28) * 512;
  const length = u64le(probe.head, 36) * 512;
  if (offset === 0 || length === 0)
    throw broken('the VMDK file has no embedded descriptor: it is part of a larger disk');
  if (length > MAX_DESCRIPTOR_BYTES) throw broken('the VMDK descriptor is too long');
  const bytes = await probe.bytes(offset, length, 'VMDK descriptor');
  const end = bytes.indexOf(0);
  const lines = bytes
    .subarray(0, end < 0 ? bytes.length : end)
    .toString('latin1')
    .split(/\r\n|\r|\n/)
    .map((line) => line.trim());
  const settings = new Map<string, string>();
  const extents: string[] = [];
  for (const line of lines) {
    if (line === '' || line.startsWith('#')) continue;
    const setting = /^([A-Za-z][A-Za-z0-9_.]*)\s*=\s*(.*)$/.exec(line);
    if (setting === null) extents.push(line);
    else {
      const name = (setting[1] ?? '').toLowerCase();
      if (settings.has(name)) throw broken('the VMDK descriptor names a setting twice');
      settings.set(name, (setting[2] ?? '').replaceAll('"', ''));
    }
  }
  if (settings.get('parentcid')?.toLowerCase() !== 'ffffffff' || settings.has('parentfilenamehint'))
    throw broken('the VMDK file names a parent');
  const createType = settings.get('createtype');
  if (createType !== 'monolithicSparse' && createType !== 'streamOptimized')
    throw broken('the VMDK type is not monolithicSparse or streamOptimized');
  // Any other kind, a second line or a path would make a reader open another file (image-formats 1).
  const extent = extents.length === 1 ? /^RW (\d{1,15}) SPARSE "[^"/\\]+"$/.exec(extents[0] ?? '') : null;
  if (extent === null) throw broken('the VMDK descriptor does not hold exactly one sparse extent in this file');
  return { createType, sectors: Number(extent[1]) };
}
