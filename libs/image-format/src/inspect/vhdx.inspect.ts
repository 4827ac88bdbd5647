import { broken } from '../refusal';
import type { BlockLayout } from './block-layout';
import { emptyMap, MAX_BLOCKS } from './block-layout';
import { crc32c } from './crc32c';
import type { FileProbe } from './file-probe';
import { isPowerOfTwo, u64le } from './file-probe';

export const VHDX_MAGIC = 'vhdxfile';
const KIB = 1024;
const MIB = 1024 * KIB;
const HEADER_OFFSETS = [64 * KIB, 128 * KIB] as const;
const REGION_OFFSETS = [192 * KIB, 256 * KIB] as const;
const HEADER_BYTES = 4 * KIB;
const TABLE_BYTES = 64 * KIB;
// Limit of the specification for region and metadata tables.
const MAX_ENTRIES = 2047;

const guid = (text: string): string => {
  const hex = text.replaceAll('-', '').toLowerCase();
  const swap = (part: string): string => (part.match(/../g) ?? []).reverse().join('');
  return swap(hex.slice(0, 8)) + swap(hex.slice(8, 12)) + swap(hex.slice(12, 16)) + hex.slice(16);
};
const REGION_BAT = guid('2DC27766-F623-4200-9D64-115E9BFD4A08');
const REGION_METADATA = guid('8B7CA206-4790-4B9A-B8FE-575F050F886E');
const ITEM_FILE_PARAMETERS = guid('CAA16737-FA36-4D43-B3B6-33F0AA44E76B');
const ITEM_VIRTUAL_SIZE = guid('2FA54224-CD1B-4876-B211-5DBED83BF4B8');
const ITEM_PAGE83 = guid('BECA12AB-B2E6-4523-93EF-C309E000C746');
const ITEM_LOGICAL_SECTOR = guid('8141BF1D-A96F-4709-BA47-F233A8FAAB5F');
const ITEM_PHYSICAL_SECTOR = guid('CDA348C7-445D-4471-9CC9-E9885251C556');
const KNOWN_ITEMS: ReadonlySet<string> = new Set([
  ITEM_FILE_PARAMETERS,
  ITEM_VIRTUAL_SIZE,
  ITEM_PAGE83,
  ITEM_LOGICAL_SECTOR,
  ITEM_PHYSICAL_SECTOR,
]);

const PAYLOAD_FULLY_PRESENT = 6;
const PAYLOAD_PARTIALLY_PRESENT = 7;

interface Region {
  offset: number;
  length: number;
}

/** Checks headers, region table, metadata and block allocation table of a VHDX (image-formats 1); gives where each block lies. Fails with `IMG.0057`. */
export async function inspectVhdx(probe: FileProbe): Promise<BlockLayout> {
  await inspectHeaders(probe);
  const regions = await readRegions(probe);
  const bat = regions.get(REGION_BAT);
  const metadata = regions.get(REGION_METADATA);
  if (bat === undefined || metadata === undefined) throw broken('the VHDX file lacks its block table or metadata');
  const items = await readMetadata(probe, metadata);

  const parameters = itemOf(items, ITEM_FILE_PARAMETERS, 8);
  const blockBytes = parameters.readUInt32LE(0);
  if ((parameters.readUInt32LE(4) & 2) !== 0)
    throw broken('the VHDX file is a differencing disk, which names a parent');
  if (!isPowerOfTwo(blockBytes) || blockBytes < MIB || blockBytes > 256 * MIB)
    throw broken('the VHDX block size is out of range');
  const sectorBytes = itemOf(items, ITEM_LOGICAL_SECTOR, 4).readUInt32LE(0);
  if (sectorBytes !== 512 && sectorBytes !== 4096) throw broken('the VHDX sector size is unknown');
  const virtualSizeBytes = u64le(itemOf(items, ITEM_VIRTUAL_SIZE, 8), 0);
  // 64 TiB is the limit of the specification; the product's own limits are checked later.
  if (virtualSizeBytes % sectorBytes !== 0 || virtualSizeBytes > 2 ** 46)
    throw broken('the VHDX virtual size is impossible');

  const blocks = Math.ceil(virtualSizeBytes / blockBytes);
  const chunkRatio = (2 ** 23 * sectorBytes) / blockBytes;
  const entries = blocks === 0 ? 0 : blocks + Math.floor((blocks - 1) / chunkRatio);
  if (bat.length < entries * 8) throw broken('the VHDX block table is too small for the virtual size');
  if (blocks > MAX_BLOCKS) throw broken('the VHDX block table is too large');
  const hostOffsets = await readBat(probe, bat.offset, entries, chunkRatio, blockBytes, blocks);
  return { virtualSizeBytes, blockBytes, hostOffsets };
}

async function inspectHeaders(probe: FileProbe): Promise<void> {
  let newest: Buffer | undefined;
  for (const offset of HEADER_OFFSETS) {
    const header = await probe.bytes(offset, HEADER_BYTES, 'VHDX header');
    if (header.subarray(0, 4).toString('latin1') !== 'head') continue;
    if (header.readUInt32LE(4) !== crc32c(header, 4)) continue;
    if (newest === undefined || header.readBigUInt64LE(8) > newest.readBigUInt64LE(8)) newest = header;
  }
  if (newest === undefined) throw broken('the VHDX file has no sound header');
  if (newest.readUInt16LE(66) !== 1) throw broken('the VHDX version is unknown');
  // A log must be replayed before the file may be read; we never write to a source (image-formats 1).
  if (!isZero(newest.subarray(48, 64))) throw broken('the VHDX file was not closed cleanly: its log is not empty');
}

async function readRegions(probe: FileProbe): Promise<Map<string, Region>> {
  for (const offset of REGION_OFFSETS) {
    const table = await probe.bytes(offset, TABLE_BYTES, 'VHDX region table');
    if (table.subarray(0, 4).toString('latin1') !== 'regi') continue;
    if (table.readUInt32LE(4) !== crc32c(table, 4)) continue;
    return regionsOf(probe, table);
  }
  throw broken('the VHDX file has no sound region table');
}

function regionsOf(probe: FileProbe, table: Buffer): Map<string, Region> {
  const count = table.readUInt32LE(8);
  if (count > MAX_ENTRIES) throw broken('the VHDX region table is too large');
  const regions = new Map<string, Region>();
  for (let at = 16; at < 16 + count * 32; at += 32) {
    const id = table.subarray(at, at + 16).toString('hex');
    const region = { offset: u64le(table, at + 16), length: table.readUInt32LE(at + 24) };
    const isRequired = (table.readUInt32LE(at + 28) & 1) !== 0;
    if (id !== REGION_BAT && id !== REGION_METADATA) {
      if (isRequired) throw broken('the VHDX file has an unknown required region');
      continue;
    }
    if (regions.has(id)) throw broken('the VHDX region table names a region twice');
    if (region.offset < MIB || region.offset % MIB !== 0) throw broken('a VHDX region is not aligned');
    probe.mustHold(region.offset, region.length, 'VHDX region');
    for (const other of regions.values()) {
      if (region.offset < other.offset + other.length && other.offset < region.offset + region.length)
        throw broken('VHDX regions overlap');
    }
    regions.set(id, region);
  }
  return regions;
}

async function readMetadata(probe: FileProbe, region: Region): Promise<Map<string, Buffer>> {
  if (region.length < TABLE_BYTES) throw broken('the VHDX metadata is cut off');
  const table = await probe.bytes(region.offset, TABLE_BYTES, 'VHDX metadata');
  if (table.subarray(0, 8).toString('latin1') !== 'metadata') throw broken('the VHDX metadata is missing');
  const count = table.readUInt16LE(10);
  if (count > MAX_ENTRIES) throw broken('the VHDX metadata table is too large');
  const items = new Map<string, Buffer>();
  for (let at = 32; at < 32 + count * 32; at += 32) {
    const id = table.subarray(at, at + 16).toString('hex');
    const flags = table.readUInt32LE(at + 24);
    const isUser = (flags & 1) !== 0;
    const isRequired = (flags & 4) !== 0;
    if (isUser || !KNOWN_ITEMS.has(id)) {
      // The parent locator is among these: a required item that we do not know changes what the disk is.
      if (isRequired) throw broken('the VHDX file has an unknown required metadata item');
      continue;
    }
    const offset = table.readUInt32LE(at + 16);
    const length = table.readUInt32LE(at + 20);
    // Items we know have at most 16 bytes.
    if (offset < TABLE_BYTES || length > 16 || offset + length > region.length)
      throw broken('a VHDX metadata item lies outside the metadata');
    if (items.has(id)) throw broken('the VHDX metadata names an item twice');
    items.set(id, await probe.bytes(region.offset + offset, length, 'VHDX metadata item'));
  }
  return items;
}

function itemOf(items: ReadonlyMap<string, Buffer>, id: string, length: number): Buffer {
  const item = items.get(id);
  if (item === undefined || item.length < length) throw broken('the VHDX metadata is incomplete');
  return item;
}

async function readBat(
  probe: FileProbe,
  offset: number,
  entries: number,
  chunkRatio: number,
  blockBytes: number,
  blocks: number,
): Promise<Float64Array> {
  const hostOffsets = emptyMap(blocks);
  let index = 0;
  let storedTotal = 0;
  for await (const piece of probe.pieces(offset, entries * 8, 'VHDX block table')) {
    for (let at = 0; at < piece.length; at += 8, index++) {
      // After every `chunkRatio` payload entries stands one of a sector bitmap, which only differencing disks use.
      if (index % (chunkRatio + 1) === chunkRatio) continue;
      const state = piece.readUInt32LE(at) & 7;
      if (state === PAYLOAD_PARTIALLY_PRESENT) throw broken('a VHDX block depends on a parent');
      if (state === 4 || state === 5) throw broken('a VHDX block has an unknown state');
      if (state !== PAYLOAD_FULLY_PRESENT) continue;
      const block = Number(piece.readBigUInt64LE(at) >> 20n) * MIB;
      if (block < MIB) throw broken('a VHDX block lies on the headers');
      probe.mustHold(block, blockBytes, 'VHDX block');
      storedTotal += blockBytes;
      if (storedTotal > probe.sizeBytes) throw broken('VHDX blocks are used more than once');
      hostOffsets[index - Math.floor(index / (chunkRatio + 1))] = block;
    }
  }
  return hostOffsets;
}

const isZero = (bytes: Buffer): boolean => bytes.every((byte) => byte === 0);
