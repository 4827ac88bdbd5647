import { hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { StoredBytesDamagedError } from '../errors';
import { NONCE_BYTES, SEAL_TAG_BYTES, SEALED_LEAVES_BYTES } from './seal';
import { FRAMES_PER_SEGMENT, HASH_BYTES, isZeroLeaf, LEAVES_PER_SEGMENT, zeroLeafHash } from './segment';

/**
 * A pack, all numbers little endian:
 *
 *   header   64 bytes: magic, version u16, k u8, m u8, shard u8, flags u8, 2 zero bytes, pack id 16, domain id 16, zeros, CRC-32 of the 60 bytes before
 *   frames   of each segment one after the other, so that a whole segment is one contiguous read
 *   footer   segment count u32; per segment: key 32, offset u64, per frame (length u32, CRC-32 u32, and in sealed packs a nonce of 12 bytes),
 *            bitmap of the leaves that are not zero 16, their hashes 32 each, or in sealed packs the sealed hashes of all leaves;
 *            then checksum count u32, CRC-32 u32 of each 256 KiB before the footer
 *   trailer  64 bytes: magic, footer offset u64, footer length u64, SHA-256 of header and footer, zeros
 *
 * The index of segments can be rebuilt from footers alone (design 4, "Pack").
 */
export const PACK_HEADER_BYTES = 64;
export const PACK_TRAILER_BYTES = 64;
/** A shard is checked in pieces of this size. */
export const CHECKSUM_BLOCK_BYTES = 256 * 1024;

const HEADER_MAGIC = Buffer.from('IMSPACK\n', 'latin1');
const TRAILER_MAGIC = Buffer.from('IMSPEND\n', 'latin1');
const VERSION = 1;
const FLAG_SEALED_FRAMES = 1;
const BITMAP_BYTES = LEAVES_PER_SEGMENT / 8;

/** What a pack says of itself. `k` data shards and `m` parity shards; `single` placement is 1 + 0. */
export interface PackHeader {
  packId: string;
  domainId: string;
  k: number;
  m: number;
  shard: number;
  sealedFrames: boolean;
}

/** Where a segment lies in its pack and how its bytes are checked. */
export interface PackedSegment {
  /** Storage key, 32 bytes. */
  key: Buffer;
  /** Position of the first frame in the pack. */
  offset: number;
  /** Stored length of each of the eight frames. */
  frameLengths: number[];
  /** CRC-32 of the stored bytes of each frame. */
  frameChecksums: number[];
  /** Seal nonces, 12 bytes each, in packs of sealed frames only. */
  frameNonces?: Buffer[];
  /** Hashes of the 128 leaves, 32 bytes each; in packs of sealed frames sealed as `SegmentSeal.sealLeaves` does. */
  leaves: Buffer;
}

export interface PackFooter {
  segments: PackedSegment[];
  /** CRC-32 of each 256 KiB of the shard before the footer; the last piece may be shorter. */
  blockChecksums: number[];
}

/** Bytes a segment's row takes in the footer, as an upper bound. */
export const FOOTER_ROW_LIMIT_BYTES =
  HASH_BYTES +
  8 +
  FRAMES_PER_SEGMENT * (8 + NONCE_BYTES) +
  Math.max(BITMAP_BYTES + LEAVES_PER_SEGMENT * HASH_BYTES, SEALED_LEAVES_BYTES);

/** Bytes of sealed frames that are no frame: what a plain file assembled from them is shorter by. */
export const sealBytesOf = (isSealed: boolean): number => (isSealed ? FRAMES_PER_SEGMENT * SEAL_TAG_BYTES : 0);

export const storedBytesOf = (frameLengths: readonly number[]): number =>
  frameLengths.reduce((sum, length) => sum + length, 0);

export function encodePackHeader(header: PackHeader): Buffer {
  const bytes = Buffer.alloc(PACK_HEADER_BYTES);
  HEADER_MAGIC.copy(bytes, 0);
  bytes.writeUInt16LE(VERSION, 8);
  bytes.writeUInt8(header.k, 10);
  bytes.writeUInt8(header.m, 11);
  bytes.writeUInt8(header.shard, 12);
  bytes.writeUInt8(header.sealedFrames ? FLAG_SEALED_FRAMES : 0, 13);
  uuidBytes(header.packId).copy(bytes, 16);
  uuidBytes(header.domainId).copy(bytes, 32);
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 60)), 60);
  return bytes;
}

/** Throws `StoredBytesDamagedError` unless these are the 64 bytes of an intact header of a known version. */
export function decodePackHeader(bytes: Buffer): PackHeader {
  if (bytes.length !== PACK_HEADER_BYTES || !bytes.subarray(0, 8).equals(HEADER_MAGIC)) {
    throw new StoredBytesDamagedError('pack header: not a pack');
  }
  if (bytes.readUInt32LE(60) !== crc32(bytes.subarray(0, 60))) {
    throw new StoredBytesDamagedError('pack header: checksum differs');
  }
  if (bytes.readUInt16LE(8) !== VERSION) {
    throw new StoredBytesDamagedError(`pack header: version ${bytes.readUInt16LE(8)} is not known`);
  }
  return {
    k: bytes.readUInt8(10),
    m: bytes.readUInt8(11),
    shard: bytes.readUInt8(12),
    sealedFrames: (bytes.readUInt8(13) & FLAG_SEALED_FRAMES) !== 0,
    packId: uuidText(bytes.subarray(16, 32)),
    domainId: uuidText(bytes.subarray(32, 48)),
  };
}

/** Footer and trailer, to be written at `footerOffset`. */
export function encodePackFooter(header: PackHeader, footer: PackFooter, footerOffset: number): Buffer {
  const parts: Buffer[] = [uint32(footer.segments.length)];
  for (const segment of footer.segments) parts.push(...encodeRow(header, segment));
  const checksums = Buffer.alloc(4 + footer.blockChecksums.length * 4);
  checksums.writeUInt32LE(footer.blockChecksums.length, 0);
  footer.blockChecksums.forEach((checksum, block) => checksums.writeUInt32LE(checksum, 4 + block * 4));
  parts.push(checksums);
  const body = Buffer.concat(parts);
  const trailer = Buffer.alloc(PACK_TRAILER_BYTES);
  TRAILER_MAGIC.copy(trailer, 0);
  trailer.writeBigUInt64LE(BigInt(footerOffset), 8);
  trailer.writeBigUInt64LE(BigInt(body.length), 16);
  footerDigest(encodePackHeader(header), body).copy(trailer, 24);
  return Buffer.concat([body, trailer]);
}

function encodeRow(header: PackHeader, segment: PackedSegment): Buffer[] {
  const frameBytes = header.sealedFrames ? 8 + NONCE_BYTES : 8;
  const fixed = Buffer.alloc(
    HASH_BYTES + 8 + FRAMES_PER_SEGMENT * frameBytes + (header.sealedFrames ? 0 : BITMAP_BYTES),
  );
  segment.key.copy(fixed, 0);
  fixed.writeBigUInt64LE(BigInt(segment.offset), HASH_BYTES);
  let at = HASH_BYTES + 8;
  for (let frame = 0; frame < FRAMES_PER_SEGMENT; frame += 1) {
    fixed.writeUInt32LE(segment.frameLengths[frame] ?? 0, at);
    fixed.writeUInt32LE(segment.frameChecksums[frame] ?? 0, at + 4);
    if (header.sealedFrames) segment.frameNonces?.[frame]?.copy(fixed, at + 8);
    at += frameBytes;
  }
  if (header.sealedFrames) return [fixed, segment.leaves];
  const parts: Buffer[] = [fixed];
  for (let leaf = 0; leaf < LEAVES_PER_SEGMENT; leaf += 1) {
    const leafHash = segment.leaves.subarray(leaf * HASH_BYTES, (leaf + 1) * HASH_BYTES);
    if (isZeroLeaf(leafHash)) continue;
    fixed.writeUInt8(fixed.readUInt8(at + (leaf >>> 3)) | (1 << (leaf & 7)), at + (leaf >>> 3));
    parts.push(leafHash);
  }
  return parts;
}

/** Where the footer lies, from the last 64 bytes of a pack of `sizeBytes`. Throws `StoredBytesDamagedError` when it cannot. */
export function decodePackTrailer(
  trailer: Buffer,
  sizeBytes: number,
): { offset: number; length: number; digest: Buffer } {
  if (trailer.length !== PACK_TRAILER_BYTES || !trailer.subarray(0, 8).equals(TRAILER_MAGIC)) {
    throw new StoredBytesDamagedError('pack trailer: not sealed');
  }
  const offset = Number(trailer.readBigUInt64LE(8));
  const length = Number(trailer.readBigUInt64LE(16));
  // Compared with the file's size before anything is allocated by it.
  if (offset < PACK_HEADER_BYTES || offset + length + PACK_TRAILER_BYTES !== sizeBytes) {
    throw new StoredBytesDamagedError('pack trailer: does not fit the size of the pack');
  }
  return { offset, length, digest: Buffer.from(trailer.subarray(24, 24 + HASH_BYTES)) };
}

/** Throws `StoredBytesDamagedError` unless the footer is intact and describes ranges inside the pack. */
export function decodePackFooter(headerBytes: Buffer, body: Buffer, digest: Buffer, footerOffset: number): PackFooter {
  if (!footerDigest(headerBytes, body).equals(digest)) throw new StoredBytesDamagedError('pack footer: hash differs');
  const header = decodePackHeader(headerBytes);
  try {
    return parseFooter(header, body, footerOffset);
  } catch (cause) {
    if (cause instanceof StoredBytesDamagedError) throw cause;
    throw new StoredBytesDamagedError('pack footer: cannot be read', { cause });
  }
}

function parseFooter(header: PackHeader, body: Buffer, footerOffset: number): PackFooter {
  const segments: PackedSegment[] = [];
  let at = 4;
  for (let left = body.readUInt32LE(0); left > 0; left -= 1) {
    const key = Buffer.from(body.subarray(at, at + HASH_BYTES));
    const offset = Number(body.readBigUInt64LE(at + HASH_BYTES));
    at += HASH_BYTES + 8;
    const frameLengths: number[] = [];
    const frameChecksums: number[] = [];
    const frameNonces: Buffer[] = [];
    for (let frame = 0; frame < FRAMES_PER_SEGMENT; frame += 1) {
      frameLengths.push(body.readUInt32LE(at));
      frameChecksums.push(body.readUInt32LE(at + 4));
      at += 8;
      if (!header.sealedFrames) continue;
      frameNonces.push(Buffer.from(body.subarray(at, at + NONCE_BYTES)));
      at += NONCE_BYTES;
    }
    if (offset < PACK_HEADER_BYTES || offset + storedBytesOf(frameLengths) > footerOffset) {
      throw new StoredBytesDamagedError('pack footer: a segment lies outside the pack');
    }
    const { leaves, end } = header.sealedFrames ? parseSealedLeaves(body, at) : parseLeaves(body, at);
    at = end;
    segments.push({
      key,
      offset,
      frameLengths,
      frameChecksums,
      leaves,
      ...(header.sealedFrames ? { frameNonces } : {}),
    });
  }
  const blocks = body.readUInt32LE(at);
  if (blocks !== Math.ceil(footerOffset / CHECKSUM_BLOCK_BYTES) || at + 4 + blocks * 4 !== body.length) {
    throw new StoredBytesDamagedError('pack footer: number of checksums differs from the size of the pack');
  }
  const blockChecksums: number[] = [];
  for (let block = 0; block < blocks; block += 1) blockChecksums.push(body.readUInt32LE(at + 4 + block * 4));
  return { segments, blockChecksums };
}

function parseLeaves(body: Buffer, bitmapAt: number): { leaves: Buffer; end: number } {
  let at = bitmapAt + BITMAP_BYTES;
  const leaves = Buffer.alloc(LEAVES_PER_SEGMENT * HASH_BYTES);
  for (let leaf = 0; leaf < LEAVES_PER_SEGMENT; leaf += 1) {
    const isData = (body.readUInt8(bitmapAt + (leaf >>> 3)) & (1 << (leaf & 7))) !== 0;
    if (isData && at + HASH_BYTES > body.length) throw new StoredBytesDamagedError('pack footer: is cut off');
    (isData ? body.subarray(at, at + HASH_BYTES) : zeroLeafHash()).copy(leaves, leaf * HASH_BYTES);
    if (isData) at += HASH_BYTES;
  }
  return { leaves, end: at };
}

function parseSealedLeaves(body: Buffer, at: number): { leaves: Buffer; end: number } {
  const end = at + SEALED_LEAVES_BYTES;
  if (end > body.length) throw new StoredBytesDamagedError('pack footer: is cut off');
  return { leaves: Buffer.from(body.subarray(at, end)), end };
}

const footerDigest = (header: Buffer, body: Buffer): Buffer => hash('sha256', Buffer.concat([header, body]), 'buffer');

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

const uuidBytes = (uuid: string): Buffer => Buffer.from(uuid.replaceAll('-', ''), 'hex');
function uuidText(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
