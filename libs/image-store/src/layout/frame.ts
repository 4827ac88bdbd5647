import { constants, crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { StoredBytesDamagedError } from '../errors';
import { FRAME_BYTES, FRAMES_PER_SEGMENT, isZero } from './segment';
import { ZstdEngine } from './zstd-engine';

// Level 1: half the time of level 3 at 1.16 times its size (performance 1). -1 would silently mean level 3 in Node.
// Checksum off because leaf hashes and frame checksums cover it; content size on because ZVHD2 readers want it (image-formats 4).
const COMPRESSION = {
  // Most frames fit into one such chunk; larger ones leave more garbage per frame and cost more in collection than they save in copies.
  chunkSize: 96 * 1024,
  params: {
    [constants.ZSTD_c_compressionLevel]: 1,
    [constants.ZSTD_c_checksumFlag]: 0,
    [constants.ZSTD_c_contentSizeFlag]: 1,
  },
};

// A chunk a little larger than a frame: an exactly full one makes zlib ask for another round.
const DECOMPRESSION = { chunkSize: FRAME_BYTES + 64, maxOutputLength: FRAME_BYTES };

/** ZSTD_compressBound of a frame, and a byte that stays free: only then is it sure that the frame is whole. */
export const FRAME_BOUND_BYTES = FRAME_BYTES + FRAME_BYTES / 256 + 1;
/** Room that the frames of any segment fit into. */
export const SEGMENT_BOUND_BYTES = FRAMES_PER_SEGMENT * FRAME_BOUND_BYTES;

const ZERO_FRAME = zstdCompressSync(Buffer.alloc(FRAME_BYTES), COMPRESSION);

// One per thread, used from call to call; calls are synchronous, so lanes that share a thread do not meet in it.
const engines: { compressor?: ZstdEngine | undefined; decompressor?: ZstdEngine | undefined } = {};

/**
 * One 256 KiB piece of a segment as one zstd frame, level 1. Bytes that do not compress become raw blocks by zstd itself.
 * The frame lies in `room` where it was written there.
 */
export function compressFrame(plain: Buffer, room: Buffer = Buffer.allocUnsafe(FRAME_BOUND_BYTES)): Buffer {
  if (isZero(plain)) return ZERO_FRAME;
  if (!('compressor' in engines)) engines.compressor = ZstdEngine.compressor(COMPRESSION);
  const length = engines.compressor?.run(plain, room.subarray(0, FRAME_BOUND_BYTES));
  if (length === undefined || length === FRAME_BOUND_BYTES) {
    engines.compressor = undefined;
    return zstdCompressSync(plain, COMPRESSION);
  }
  return room.subarray(0, length);
}

/** The eight frames of a segment (2 MiB), in order. They lie in `room` (`SEGMENT_BOUND_BYTES`) until it is used again. */
export function compressSegment(segment: Buffer, room: Buffer = Buffer.allocUnsafe(SEGMENT_BOUND_BYTES)): Buffer[] {
  const frames: Buffer[] = [];
  for (let frame = 0; frame < FRAMES_PER_SEGMENT; frame += 1) {
    const plain = segment.subarray(frame * FRAME_BYTES, (frame + 1) * FRAME_BYTES);
    frames.push(compressFrame(plain, room.subarray(frame * FRAME_BOUND_BYTES)));
  }
  return frames;
}

/** CRC-32 of stored frame bytes: what a reader checks before anything goes out. */
export const frameChecksum = (stored: Uint8Array): number => crc32(stored);

/**
 * Guest bytes (256 KiB) of a stored frame, written to the front of `into`. Throws `StoredBytesDamagedError` when it decodes to anything else.
 */
export function decompressFrame(
  stored: Uint8Array,
  where: string,
  into: Buffer = Buffer.allocUnsafe(FRAME_BYTES),
): Buffer {
  const plain = into.subarray(0, FRAME_BYTES);
  engines.decompressor ??= ZstdEngine.decompressor(DECOMPRESSION);
  if (engines.decompressor?.run(stored, plain) === FRAME_BYTES) return plain;
  // A new one next time; the one-shot call decides, and says what is wrong.
  engines.decompressor = undefined;
  let decoded: Buffer;
  try {
    decoded = zstdDecompressSync(stored, DECOMPRESSION);
  } catch (cause) {
    throw undecodable(where, cause);
  }
  if (decoded.length !== FRAME_BYTES) {
    throw new StoredBytesDamagedError(`${where}: decodes to ${decoded.length} bytes instead of ${FRAME_BYTES}`);
  }
  decoded.copy(plain);
  return plain;
}

const undecodable = (where: string, cause: unknown): StoredBytesDamagedError =>
  new StoredBytesDamagedError(`${where}: cannot be decoded`, { cause });
