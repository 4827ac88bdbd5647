import { createHmac, hash } from 'node:crypto';

/** Guest bytes of one segment: the block of ZVHD2, so that an export copies stored frames (design 4, "Segment"). */
export const SEGMENT_BYTES = 2 * 1024 * 1024;
/** Guest bytes of one independently coded frame: a random read decodes this much (performance 3, "Lazy reading"). */
export const FRAME_BYTES = 256 * 1024;
/** Guest bytes under one leaf hash: small changes travel in this size (performance 2, "Small changes"). */
export const LEAF_BYTES = 16 * 1024;
export const FRAMES_PER_SEGMENT = SEGMENT_BYTES / FRAME_BYTES;
export const LEAVES_PER_SEGMENT = SEGMENT_BYTES / LEAF_BYTES;
/** SHA-256. */
export const HASH_BYTES = 32;

const sha256 = (bytes: Uint8Array): Buffer => hash('sha256', bytes, 'buffer');
// 255 hashes per segment: a string costs less than a Buffer with memory of its own.
const writeSha256 = (bytes: Uint8Array, into: Buffer, at: number): void => {
  into.write(hash('sha256', bytes, 'binary'), at, HASH_BYTES, 'latin1');
};

const ZERO_SEGMENT = Buffer.alloc(SEGMENT_BYTES);
const ZERO_LEAF = ZERO_SEGMENT.subarray(0, LEAF_BYTES);
const ZERO_LEAF_HASH = sha256(ZERO_LEAF);

/** Number of segments of a disk; the last one is padded with zeros. */
export const segmentCountOf = (virtualSizeBytes: number): number => Math.ceil(virtualSizeBytes / SEGMENT_BYTES);

/** True when the segment (2 MiB) or a piece of it reads as zeros. */
export const isZero = (bytes: Buffer): boolean => bytes.equals(ZERO_SEGMENT.subarray(0, bytes.length));

/** True for the hash of a leaf that reads as zeros. */
export const isZeroLeaf = (leaf: Buffer): boolean => leaf.equals(ZERO_LEAF_HASH);

/** Hash of a leaf that reads as zeros. */
export const zeroLeafHash = (): Buffer => ZERO_LEAF_HASH;

/**
 * SHA-256 of each 16 KiB of a segment (2 MiB), one after the other into `into` (128 x 32 bytes).
 *
 * @example hashLeaves(segment, leaves); const root = segmentRoot(leaves);
 */
export function hashLeaves(segment: Buffer, into: Buffer): void {
  for (let leaf = 0; leaf < LEAVES_PER_SEGMENT; leaf += 1) {
    const bytes = segment.subarray(leaf * LEAF_BYTES, (leaf + 1) * LEAF_BYTES);
    // Comparing costs a thirtieth of hashing and ends at the first byte that differs.
    if (bytes.equals(ZERO_LEAF)) ZERO_LEAF_HASH.copy(into, leaf * HASH_BYTES);
    else writeSha256(bytes, into, leaf * HASH_BYTES);
  }
}

/**
 * Root of a segment over exactly 128 leaf hashes: inner node = SHA-256(left || right). The depth is fixed and leaf inputs
 * (16 KiB) and node inputs (64 bytes) differ in length, so no prefix is needed to keep them apart.
 * Throws `RangeError` for any other number of leaves.
 */
export function segmentRoot(leaves: Buffer): Buffer {
  if (leaves.length !== LEAVES_PER_SEGMENT * HASH_BYTES) {
    throw new RangeError(`a segment has ${LEAVES_PER_SEGMENT} leaves, got ${leaves.length} bytes of hashes`);
  }
  const level = Buffer.from(leaves);
  for (let nodes = LEAVES_PER_SEGMENT / 2; nodes >= 1; nodes /= 2) {
    for (let node = 0; node < nodes; node += 1) {
      writeSha256(level.subarray(node * 2 * HASH_BYTES, (node + 1) * 2 * HASH_BYTES), level, node * HASH_BYTES);
    }
  }
  return Buffer.from(level.subarray(0, HASH_BYTES));
}

/** Root of the segment that reads as zeros. */
export const ZERO_SEGMENT_ROOT: Buffer = (() => {
  const leaves = Buffer.alloc(LEAVES_PER_SEGMENT * HASH_BYTES);
  hashLeaves(ZERO_SEGMENT, leaves);
  return segmentRoot(leaves);
})();

/**
 * Name under which a segment is stored: HMAC-SHA256 under the secret of its dedup domain, so that nobody learns from a name
 * what another tenant stores (design 4, "Names").
 */
export const storageKey = (domainSecret: Uint8Array, root: Uint8Array): Buffer =>
  createHmac('sha256', domainSecret).update(root).digest();
