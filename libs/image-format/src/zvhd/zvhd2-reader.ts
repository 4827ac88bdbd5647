import type { ByteSource } from '@ims/buckets';
import type { DiskReader, Extent, Inspection } from '../disk-reader';
import { ExtentMerger } from '../readers/extent-merger';
import { BlockCache } from './block-cache';
import { decodePayload } from './block-codec';
import { blockLength, checkTail, decodeHead, HEAD_BYTES, PAYLOAD_LIMIT, TAIL_BYTES } from './data-block';
import { BLOCK_BYTES, decodeStreamPage, PAGE_BYTES, refuse, type StreamPage } from './stream-page';
import {
  BITMAP_SEGMENT_BYTES,
  BLOCKS_PER_SEGMENT,
  INDEX_ENTRY_BYTES,
  INDEX_SEGMENT_BYTES,
  METHOD_ZLIB,
  METHOD_ZSTD,
  ZVHD2_LIMIT_BYTES,
} from './zvhd2-layout';

/** Where the stored blocks of a checked ZVHD2 file lie; arrays in order of block number. */
interface Zvhd2Map {
  page: StreamPage;
  method: number;
  blockNumbers: Uint32Array;
  offsets: Float64Array;
  lengths: Uint32Array;
}

/**
 * Checks a ZVHD2 file without reading its blocks: both pages, bitmap and index with every rule of image-formats 4.
 * Returns the original size. Throws `ImsError` IMG.0057 with the reason.
 */
export async function inspectZvhd2(source: ByteSource, signal?: AbortSignal): Promise<Inspection> {
  const { page } = await readMap(source, signal);
  return { format: 'zvhd2', virtualSizeBytes: page.originalSizeBytes };
}

/**
 * Opens a ZVHD2 file for random access by its index. `read` checks the block's head and tail and unpacks exactly 2 MiB; it throws
 * IMG.0057 for a block that is not what the index says. Closing the reader closes the source.
 */
export async function openZvhd2(source: ByteSource, signal?: AbortSignal): Promise<DiskReader> {
  return new Zvhd2Reader(source, await readMap(source, signal));
}

class Zvhd2Reader implements DiskReader {
  readonly virtualSizeBytes: number;
  private readonly cache = new BlockCache();

  constructor(
    private readonly source: ByteSource,
    private readonly map: Zvhd2Map,
  ) {
    this.virtualSizeBytes = map.page.originalSizeBytes;
  }

  async *extents(): AsyncGenerator<Extent> {
    const merger = new ExtentMerger(this.virtualSizeBytes);
    for (const number of this.map.blockNumbers) {
      const closed = merger.push(number * BLOCK_BYTES, BLOCK_BYTES);
      if (closed !== undefined) yield closed;
    }
    const last = merger.end();
    if (last !== undefined) yield last;
  }

  async read(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    const diskEnd = this.virtualSizeBytes;
    for (let done = 0; done < target.length;) {
      const position = offset + done;
      const number = Math.floor(position / BLOCK_BYTES);
      const within = position - number * BLOCK_BYTES;
      const part = target.subarray(done, done + Math.min(target.length - done, BLOCK_BYTES - within));
      const stored = position < diskEnd ? find(this.map.blockNumbers, number) : -1;
      if (stored < 0) part.fill(0);
      else {
        const visible = Math.min(part.length, diskEnd - position);
        part.set((await this.block(stored, number, signal)).subarray(within, within + visible));
        part.fill(0, visible);
      }
      done += part.length;
    }
  }

  close(): Promise<void> {
    return this.source.close();
  }

  private async block(stored: number, number: number, signal?: AbortSignal): Promise<Buffer> {
    const cached = this.cache.get(number);
    if (cached !== undefined) return cached;
    signal?.throwIfAborted();
    const where = `block ${number}`;
    const bytes = Buffer.allocUnsafe(this.map.lengths[stored] ?? 0);
    await this.source.read(this.map.offsets[stored] ?? 0, bytes, signal);
    const head = decodeHead(bytes.subarray(0, HEAD_BYTES), where);
    if (head.blockNumber !== number) throw refuse(`${where} calls itself block ${head.blockNumber}`);
    if (blockLength(head.payloadBytes) !== bytes.length) {
      throw refuse(`${where} has a payload of ${head.payloadBytes} bytes in ${bytes.length} bytes`);
    }
    checkTail(bytes.subarray(bytes.length - TAIL_BYTES), where);
    const block = decodePayload(bytes.subarray(HEAD_BYTES, HEAD_BYTES + head.payloadBytes), this.map.method, where);
    this.cache.set(number, block);
    return block;
  }
}

/** Position of `number` in the ascending array, or -1. */
function find(numbers: Uint32Array, number: number): number {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((numbers[middle] ?? 0) < number) low = middle + 1;
    else high = middle;
  }
  return numbers[low] === number ? low : -1;
}

async function readAt(source: ByteSource, position: number, length: number, signal?: AbortSignal): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  await source.read(position, bytes, signal);
  return bytes;
}

async function readMap(source: ByteSource, signal?: AbortSignal): Promise<Zvhd2Map> {
  const { sizeBytes } = source;
  // Header, middle page, one bitmap segment and footer: what an empty disk needs.
  if (sizeBytes < 4 * PAGE_BYTES || sizeBytes % PAGE_BYTES !== 0) throw refuse(`zvhd2 file of ${sizeBytes} bytes`);
  const header = decodeStreamPage(await readAt(source, 0, PAGE_BYTES, signal), 'zvhd2', 'header', ZVHD2_LIMIT_BYTES);
  const raw = await readAt(source, sizeBytes - PAGE_BYTES, PAGE_BYTES, signal);
  const page = decodeStreamPage(raw, 'zvhd2', 'footer', ZVHD2_LIMIT_BYTES);
  if (page.originalSizeBytes !== header.originalSizeBytes || !page.uuid.equals(header.uuid)) {
    throw refuse('zvhd2 header and footer do not belong together');
  }
  if (raw.readUInt8(87) !== 1) throw refuse(`zvhd2 format version ${raw.readUInt8(87)}`);
  if (raw.readUInt32LE(88) !== BLOCK_BYTES) throw refuse(`zvhd2 block size ${raw.readUInt32LE(88)}`);
  const blockLimit = raw.readUInt32LE(92);
  if (blockLimit !== Math.ceil(page.originalSizeBytes / BLOCK_BYTES)) {
    throw refuse(`zvhd2 has ${blockLimit} blocks for ${page.originalSizeBytes} bytes`);
  }
  const blockCount = raw.readUInt32LE(136);
  if (blockCount > blockLimit) throw refuse(`zvhd2 has ${blockCount} of ${blockLimit} blocks stored`);
  const withZeros = raw.readUInt8(140);
  if (withZeros > 1) throw refuse(`zvhd2 index kind ${withZeros}`);
  const method = raw.readUInt8(141);
  if (method !== METHOD_ZLIB && method !== METHOD_ZSTD) throw refuse(`zvhd2 compression ${method}`);

  const entryCount = withZeros === 1 ? blockLimit : blockCount;
  const indexSegments = Math.ceil(entryCount / BLOCKS_PER_SEGMENT);
  const bitmapSegments = Math.ceil(blockLimit / BLOCKS_PER_SEGMENT);
  const exact = (offset: number, expected: number, what: string): void => {
    const value = raw.readUInt32LE(offset);
    if (value !== expected) throw refuse(`zvhd2 ${what} is ${value} instead of ${expected}`);
  };
  exact(120, INDEX_SEGMENT_BYTES, 'index segment');
  exact(124, BITMAP_SEGMENT_BYTES, 'bitmap segment');
  exact(128, indexSegments, 'number of index segments');
  exact(132, bitmapSegments, 'number of bitmap segments');
  const indexBytes = indexSegments * INDEX_SEGMENT_BYTES;
  const bitmapBytes = bitmapSegments * BITMAP_SEGMENT_BYTES;
  exact(112, indexBytes, 'index length');
  exact(116, bitmapBytes, 'bitmap length');
  // The parts follow one another without gaps (image-formats 4, "Layout"), so the file's length gives their places.
  const bitmapOffset = sizeBytes - PAGE_BYTES - bitmapBytes;
  const indexOffset = bitmapOffset - indexBytes;
  const middleOffset = indexOffset - PAGE_BYTES;
  if (middleOffset < PAGE_BYTES) throw refuse('zvhd2 file is too short for its index');
  if (raw.readBigUInt64LE(96) !== BigInt(indexOffset)) throw refuse(`zvhd2 index at ${raw.readBigUInt64LE(96)}`);
  if (raw.readBigUInt64LE(104) !== BigInt(bitmapOffset)) throw refuse(`zvhd2 bitmap at ${raw.readBigUInt64LE(104)}`);

  const bits = await readAt(source, bitmapOffset, bitmapBytes, signal);
  const blockNumbers = setBits(bits, blockLimit, blockCount);
  const offsets = new Float64Array(blockCount);
  const lengths = new Uint32Array(blockCount);
  let stored = 0;
  for (let segment = 0; segment < indexSegments; segment++) {
    const index = await readAt(source, indexOffset + segment * INDEX_SEGMENT_BYTES, INDEX_SEGMENT_BYTES, signal);
    const entries = Math.min(BLOCKS_PER_SEGMENT, entryCount - segment * BLOCKS_PER_SEGMENT);
    for (let k = 0; k < entries; k++) {
      const at = k * INDEX_ENTRY_BYTES;
      const number = blockNumbers[stored];
      if (withZeros === 1) {
        const isStored = number === segment * BLOCKS_PER_SEGMENT + k;
        if (!isStored && index.readBigUInt64LE(at) === 0n) continue;
        if (!isStored) throw refuse('zvhd2 index names a block that the bitmap leaves out');
      }
      if (number === undefined || index.readUInt32LE(at + 8) !== number) {
        throw refuse(`zvhd2 index entry ${k} is of block ${index.readUInt32LE(at + 8)} instead of ${number}`);
      }
      const offset = index.readBigUInt64LE(at);
      const length = index.readUInt32LE(at + 12);
      if (length === 0 || length % PAGE_BYTES !== 0 || length > blockLength(PAYLOAD_LIMIT - 1)) {
        throw refuse(`zvhd2 block ${number} is ${length} bytes long`);
      }
      if (offset < BigInt(PAGE_BYTES) || offset + BigInt(length) > BigInt(middleOffset)) {
        throw refuse(`zvhd2 block ${number} lies at ${offset}, outside the data`);
      }
      offsets[stored] = Number(offset);
      lengths[stored] = length;
      stored++;
    }
  }
  checkOverlaps(offsets, lengths);
  return { page, method, blockNumbers, offsets, lengths };
}

function setBits(bits: Buffer, blockLimit: number, blockCount: number): Uint32Array {
  const numbers = new Uint32Array(blockCount);
  let count = 0;
  for (let byte = 0; byte < bits.length; byte++) {
    const value = bits[byte] ?? 0;
    if (value === 0) continue;
    for (let bit = 0; bit < 8; bit++) {
      if ((value & (1 << bit)) === 0) continue;
      const number = byte * 8 + bit;
      if (number >= blockLimit || count === blockCount) {
        throw refuse(`zvhd2 bitmap marks block ${number}, but ${blockCount} of ${blockLimit} are stored`);
      }
      numbers[count++] = number;
    }
  }
  if (count !== blockCount) throw refuse(`zvhd2 bitmap marks ${count} blocks, the footer counts ${blockCount}`);
  return numbers;
}

function checkOverlaps(offsets: Float64Array, lengths: Uint32Array): void {
  // Writers with several threads may store blocks out of order, so places are compared in file order.
  const order = Uint32Array.from(offsets.keys()).sort((a, b) => (offsets[a] ?? 0) - (offsets[b] ?? 0));
  let end = 0;
  for (const k of order) {
    const offset = offsets[k] ?? 0;
    if (offset < end) throw refuse(`zvhd2 blocks overlap at ${offset}`);
    end = offset + (lengths[k] ?? 0);
  }
}
