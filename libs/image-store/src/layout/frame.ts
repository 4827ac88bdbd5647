import { constants, crc32, zstdCompressSync, zstdDecompress, zstdDecompressSync } from 'node:zlib';
import { StoredBytesDamagedError } from '../errors';
import { FRAME_BYTES, FRAMES_PER_SEGMENT, isZero } from './segment';

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

const ZERO_FRAME = zstdCompressSync(Buffer.alloc(FRAME_BYTES), COMPRESSION);

/** One 256 KiB piece of a segment as one zstd frame, level 1. Bytes that do not compress become raw blocks by zstd itself. */
export function compressFrame(plain: Buffer): Buffer {
  return isZero(plain) ? ZERO_FRAME : zstdCompressSync(plain, COMPRESSION);
}

/** The eight frames of a segment (2 MiB), in order. */
export function compressSegment(segment: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < FRAMES_PER_SEGMENT * FRAME_BYTES; at += FRAME_BYTES) {
    frames.push(compressFrame(segment.subarray(at, at + FRAME_BYTES)));
  }
  return frames;
}

/** CRC-32 of stored frame bytes: what a reader checks before anything goes out. */
export const frameChecksum = (stored: Uint8Array): number => crc32(stored);

/** Guest bytes (256 KiB) of a stored frame. Throws `StoredBytesDamagedError` when it decodes to anything else. */
export function decompressFrame(stored: Uint8Array, where: string): Buffer {
  try {
    return whole(zstdDecompressSync(stored, DECOMPRESSION), where);
  } catch (cause) {
    throw cause instanceof StoredBytesDamagedError ? cause : undecodable(where, cause);
  }
}

/** As `decompressFrame`, on a thread of libuv's pool: several frames decode at once and the caller's thread stays free. */
export function decompressFrameInBackground(stored: Uint8Array, where: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    zstdDecompress(stored, DECOMPRESSION, (error, plain) => {
      if (error !== null) return reject(undecodable(where, error));
      try {
        resolve(whole(plain, where));
      } catch (cause) {
        reject(cause instanceof Error ? cause : undecodable(where, cause));
      }
    });
  });
}

function whole(plain: Buffer, where: string): Buffer {
  if (plain.length !== FRAME_BYTES) {
    throw new StoredBytesDamagedError(`${where}: decodes to ${plain.length} bytes instead of ${FRAME_BYTES}`);
  }
  return plain;
}

const undecodable = (where: string, cause: unknown): StoredBytesDamagedError =>
  new StoredBytesDamagedError(`${where}: cannot be decoded`, { cause });
