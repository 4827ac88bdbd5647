import { createHash } from 'node:crypto';
import { blockLength } from './data-block';
import { BLOCK_BYTES, currentSizeBytes, encodeStreamPage, PAGE_BYTES, sealPage } from './stream-page';

export const INDEX_SEGMENT_BYTES = 524_288;
export const BITMAP_SEGMENT_BYTES = 4096;
export const INDEX_ENTRY_BYTES = 16;
/** Blocks described by one index segment (524288 / 16) and by one bitmap segment (4096 x 8). */
export const BLOCKS_PER_SEGMENT = 32_768;
/** max_blk_num may not pass 1 TiB (image-formats 4). */
export const ZVHD2_LIMIT_BYTES = 1024 ** 4;

export const METHOD_ZLIB = 0;
export const METHOD_ZSTD = 1;

/** Seconds from 2000-01-01 to 2020-01-01 UTC: times derived from a manifest stay below it, so no file seems to come from the future. */
const DERIVED_TIME_LIMIT = 631_152_000;

/** What a ZVHD2 file says of itself besides its content. */
export interface Zvhd2Identity {
  /** Seconds since 2000-01-01 UTC. */
  headerTime: number;
  /** 16 bytes. */
  uuid: Buffer;
}

/**
 * Header time and UUID of the file that is assembled for a manifest: always the same for the same manifest, so that
 * lengths and digests of a download never change (design 4, "Downloads"). The UUID is of version 8.
 *
 * @example zvhd2Identity(disk.manifestHash).uuid.length === 16
 */
export function zvhd2Identity(manifestHash: string): Zvhd2Identity {
  const digest = createHash('sha256').update(`zvhd2:${manifestHash}`).digest();
  const uuid = Buffer.from(digest.subarray(0, 16));
  uuid.writeUInt8((uuid.readUInt8(6) & 0x0f) | 0x80, 6);
  uuid.writeUInt8((uuid.readUInt8(8) & 0x3f) | 0x80, 8);
  return { headerTime: digest.readUInt32BE(16) % DERIVED_TIME_LIMIT, uuid };
}

/**
 * Where every part of a ZVHD2 file lies. Positions and lengths in bytes; block k is the k-th stored one.
 * Typed arrays, because a dense 1 TiB disk has 524,288 blocks (8 MiB here).
 */
export interface Zvhd2Layout extends Zvhd2Identity {
  readonly virtualSizeBytes: number;
  /** Length of the whole file. */
  readonly sizeBytes: number;
  readonly blockCount: number;
  /** ceil(virtual size / 2 MiB). */
  readonly blockNumberLimit: number;
  readonly blockNumbers: Uint32Array;
  readonly payloadBytes: Uint32Array;
  /** One more than there are blocks: the last one is where the middle page begins. */
  readonly blockOffsets: Float64Array;
  readonly middleOffset: number;
  readonly indexOffset: number;
  readonly indexBytes: number;
  readonly bitmapOffset: number;
  readonly bitmapBytes: number;
  readonly footerOffset: number;
}

/**
 * Computes the layout (image-formats 4) from the stored segments alone, before any payload is read. `segments` is walked
 * once and may be an iterator; indexes must rise, each below ceil(virtualSizeBytes / 2 MiB), and `storedBytes` is the
 * length of the payload: zstd frames one after the other that decode to exactly 2 MiB.
 * Throws `RangeError` when the segments or the size cannot be those of a disk of at most 1 TiB.
 *
 * @example zvhd2Layout({ virtualSizeBytes: 12 * 2 ** 20, segments: [{ index: 0, storedBytes: 97 }], ...zvhd2Identity(hash) }).sizeBytes
 */
export function zvhd2Layout(disk: {
  virtualSizeBytes: number;
  segments: Iterable<{ index: number; storedBytes: number }>;
  headerTime: number;
  uuid: Buffer;
}): Zvhd2Layout {
  const { virtualSizeBytes } = disk;
  if (!Number.isInteger(virtualSizeBytes / 512) || virtualSizeBytes <= 0 || virtualSizeBytes > ZVHD2_LIMIT_BYTES) {
    throw new RangeError(`a ZVHD2 disk of ${virtualSizeBytes} bytes: whole sectors up to 1 TiB are possible`);
  }
  const blockNumberLimit = Math.ceil(virtualSizeBytes / BLOCK_BYTES);
  let blockNumbers = new Uint32Array(1024);
  let payloadBytes = new Uint32Array(1024);
  let blockCount = 0;
  let previous = -1;
  for (const { index, storedBytes } of disk.segments) {
    if (!Number.isInteger(index) || index <= previous || index >= blockNumberLimit) {
      throw new RangeError(`segment ${index} after segment ${previous} of ${blockNumberLimit}`);
    }
    // Readers give up on a larger payload (image-formats 3).
    if (!Number.isInteger(storedBytes) || storedBytes <= 0 || storedBytes >= 4 * 1024 * 1024) {
      throw new RangeError(`segment ${index} is stored in ${storedBytes} bytes`);
    }
    if (blockCount === blockNumbers.length) {
      blockNumbers = doubled(blockNumbers);
      payloadBytes = doubled(payloadBytes);
    }
    blockNumbers[blockCount] = index;
    payloadBytes[blockCount] = storedBytes;
    blockCount++;
    previous = index;
  }
  const blockOffsets = new Float64Array(blockCount + 1);
  let position = PAGE_BYTES;
  for (let k = 0; k < blockCount; k++) {
    blockOffsets[k] = position;
    position += blockLength(payloadBytes[k] ?? 0);
  }
  blockOffsets[blockCount] = position;
  const middleOffset = position;
  const indexOffset = middleOffset + PAGE_BYTES;
  const indexBytes = Math.ceil(blockCount / BLOCKS_PER_SEGMENT) * INDEX_SEGMENT_BYTES;
  const bitmapOffset = indexOffset + indexBytes;
  const bitmapBytes = Math.ceil(blockNumberLimit / BLOCKS_PER_SEGMENT) * BITMAP_SEGMENT_BYTES;
  const footerOffset = bitmapOffset + bitmapBytes;
  return {
    virtualSizeBytes,
    sizeBytes: footerOffset + PAGE_BYTES,
    headerTime: disk.headerTime,
    uuid: disk.uuid,
    blockCount,
    blockNumberLimit,
    blockNumbers: blockNumbers.subarray(0, blockCount),
    payloadBytes: payloadBytes.subarray(0, blockCount),
    blockOffsets,
    middleOffset,
    indexOffset,
    indexBytes,
    bitmapOffset,
    bitmapBytes,
    footerOffset,
  };
}

function doubled(array: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(array.length * 2);
  larger.set(array);
  return larger;
}

function basePage(layout: Zvhd2Layout): Buffer {
  const page = encodeStreamPage({
    kind: 'zvhd2',
    originalSizeBytes: layout.virtualSizeBytes,
    currentSizeBytes: currentSizeBytes(layout.virtualSizeBytes),
    seconds: layout.headerTime,
    uuid: layout.uuid,
  });
  page.writeUInt8(1, 87);
  page.writeUInt32LE(BLOCK_BYTES, 88);
  page.writeUInt32LE(layout.blockNumberLimit, 92);
  page.writeUInt8(METHOD_ZSTD, 141);
  return page;
}

/** First page of the file: offsets and counts still zero. */
export const headerPage = (layout: Zvhd2Layout): Buffer => sealPage(basePage(layout));

/** Page between blocks and index: the header with the count filled in and, as the format wants it, the checksum NOT recomputed. */
export function middlePage(layout: Zvhd2Layout): Buffer {
  const page = headerPage(layout);
  page.writeUInt32LE(layout.blockCount, 136);
  return page;
}

/** Last page of the file: where index and bitmap lie. */
export function footerPage(layout: Zvhd2Layout): Buffer {
  const page = basePage(layout);
  page.writeBigUInt64LE(BigInt(layout.indexOffset), 96);
  page.writeBigUInt64LE(BigInt(layout.bitmapOffset), 104);
  page.writeUInt32LE(layout.indexBytes, 112);
  page.writeUInt32LE(layout.bitmapBytes, 116);
  page.writeUInt32LE(INDEX_SEGMENT_BYTES, 120);
  page.writeUInt32LE(BITMAP_SEGMENT_BYTES, 124);
  page.writeUInt32LE(layout.indexBytes / INDEX_SEGMENT_BYTES, 128);
  page.writeUInt32LE(layout.bitmapBytes / BITMAP_SEGMENT_BYTES, 132);
  page.writeUInt32LE(layout.blockCount, 136);
  return sealPage(page);
}

/** Index entries `from` (inclusive) to `to` (exclusive); past the last block they are zeros (padding of the last segment). */
export function indexEntries(layout: Zvhd2Layout, from: number, to: number): Buffer {
  const bytes = Buffer.alloc((to - from) * INDEX_ENTRY_BYTES);
  for (let k = from; k < Math.min(to, layout.blockCount); k++) {
    const at = (k - from) * INDEX_ENTRY_BYTES;
    bytes.writeBigUInt64LE(BigInt(layout.blockOffsets[k] ?? 0), at);
    bytes.writeUInt32LE(layout.blockNumbers[k] ?? 0, at + 8);
    bytes.writeUInt32LE(blockLength(layout.payloadBytes[k] ?? 0), at + 12);
  }
  return bytes;
}

/** The whole bitmap (at most 64 KiB, for 1 TiB): one bit per block, least significant first, 1 = stored. */
export function bitmap(layout: Zvhd2Layout): Buffer {
  const bits = Buffer.alloc(layout.bitmapBytes);
  for (const number of layout.blockNumbers) {
    const byte = number >>> 3;
    bits[byte] = (bits[byte] ?? 0) | (1 << (number & 7));
  }
  return bits;
}
