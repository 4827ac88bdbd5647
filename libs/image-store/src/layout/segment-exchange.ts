import { hash } from 'node:crypto';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { ExchangeError } from '../errors';
import { FRAME_BOUND_BYTES } from './frame';
import { storedBytesOf } from './pack-format';
import {
  FRAMES_PER_SEGMENT,
  HASH_BYTES,
  hashLeaves,
  isZeroLeaf,
  LEAF_BYTES,
  LEAVES_PER_SEGMENT,
  SEGMENT_BYTES,
} from './segment';

/**
 * What two stores say to each other while one fetches a disk from the other, all numbers little endian:
 *
 *   request  magic 8, count u16; per wanted segment: number u32, kind u8, and with kind 1 the heads of the 128 leaf hashes of its base, 8 bytes each
 *   answer   magic 8, count u16; per segment: number u32, kind u8, and
 *            kind 1, whole: length u32 of each of the eight stored frames, the frames;
 *            kind 2, leaves: bitmap of the leaves that differ from the base 16, bitmap of those among them that read as zeros 16, length u32, the others
 *            as one zstd frame;
 *            then SHA-256 of everything before
 *
 * Zeros never travel: a leaf of zeros is a bit, and a segment of zeros is in no manifest. The heads of the
 * hashes only choose what travels: the root of the rebuilt segment is checked in full, and one that differs is fetched whole.
 */
const REQUEST_MAGIC = Buffer.from('IMSWANT1', 'latin1');
const ANSWER_MAGIC = Buffer.from('IMSSEGS1', 'latin1');
const HEAD_BYTES = 10;

/** Bytes of a leaf hash that are compared: with 128 leaves a false match has a chance of 2^-57, and is found by the root. */
export const LEAF_HEAD_BYTES = 8;
const BASE_BYTES = LEAVES_PER_SEGMENT * LEAF_HEAD_BYTES;
const BITMAP_BYTES = LEAVES_PER_SEGMENT / 8;

const WANT = { whole: 0, delta: 1 } as const;
const SENT = { whole: 1, leaves: 2 } as const;

/** Most segments of one request: with a base each it has 66 KiB. */
export const MAX_WANTS = 64;
/** An answer ends with the segment that takes it beyond this; the others are asked for again. */
export const ANSWER_BYTES = 8 * 1024 * 1024;
// A segment that does not compress, beyond the size after which no further one is added.
const MAX_ANSWER_BYTES = ANSWER_BYTES + SEGMENT_BYTES + 64 * 1024;

/** A segment that is asked for: its number on the disk, and the heads of its base's leaf hashes where there is a base. */
export interface Want {
  index: number;
  base?: Buffer;
}

export type SentSegment =
  | { index: number; kind: 'whole'; frames: Buffer[]; wireBytes: number }
  | { index: number; kind: 'leaves'; differing: Buffer; zero: Buffer; packed: Buffer; wireBytes: number };

/** Heads of the 128 leaf hashes of a segment (2 MiB). */
export function leafHeads(segment: Buffer): Buffer {
  const leaves = Buffer.allocUnsafe(LEAVES_PER_SEGMENT * HASH_BYTES);
  hashLeaves(segment, leaves);
  return headsOf(leaves);
}

function headsOf(leaves: Buffer): Buffer {
  const heads = Buffer.allocUnsafe(BASE_BYTES);
  for (let leaf = 0; leaf < LEAVES_PER_SEGMENT; leaf += 1)
    leaves.copy(heads, leaf * LEAF_HEAD_BYTES, leaf * HASH_BYTES, leaf * HASH_BYTES + LEAF_HEAD_BYTES);
  return heads;
}

/** Bytes that a want takes in a request. */
export const wantBytes = ({ base }: Want): number => (base === undefined ? 5 : 5 + BASE_BYTES);

export function encodeWants(wants: readonly Want[]): Buffer {
  const head = headOf(REQUEST_MAGIC, wants.length);
  const parts = wants.flatMap(({ index, base }) => {
    const fixed = Buffer.allocUnsafe(5);
    fixed.writeUInt32LE(index, 0);
    fixed.writeUInt8(base === undefined ? WANT.whole : WANT.delta, 4);
    return base === undefined ? [fixed] : [fixed, base];
  });
  return Buffer.concat([head, ...parts]);
}

/** @throws ExchangeError unless these are the bytes of one request */
export function decodeWants(bytes: Buffer): Want[] {
  const reader = new Reader(bytes, REQUEST_MAGIC, 'request');
  const wants: Want[] = [];
  const count = reader.count();
  if (count === 0 || count > MAX_WANTS) throw new ExchangeError(`request: asks for ${count} segments`);
  for (let left = count; left > 0; left -= 1) {
    const index = reader.uint32();
    const kind = reader.uint8();
    if (kind === WANT.whole) wants.push({ index });
    else if (kind === WANT.delta) wants.push({ index, base: reader.take(BASE_BYTES) });
    else throw new ExchangeError(`request: kind ${kind} is not known`);
  }
  reader.end();
  return wants;
}

/** The answer to one request, segment by segment. */
export class AnswerWriter {
  readonly #parts: Buffer[] = [];
  #count = 0;
  #bytes = 0;

  /** True when no further segment is to be added. */
  get isFull(): boolean {
    return this.#bytes >= ANSWER_BYTES;
  }

  /** Stored frames as they are. */
  addWhole(index: number, frameLengths: readonly number[], frames: Buffer): void {
    const fixed = Buffer.allocUnsafe(5 + FRAMES_PER_SEGMENT * 4);
    fixed.writeUInt32LE(index, 0);
    fixed.writeUInt8(SENT.whole, 4);
    frameLengths.forEach((length, frame) => fixed.writeUInt32LE(length, 5 + frame * 4));
    this.#add(fixed, frames);
  }

  /**
   * The leaves of a segment (2 MiB) that differ from those of the base, or the stored frames where these are shorter.
   *
   * @param base heads of the base's leaf hashes
   */
  addDelta(index: number, segment: Buffer, base: Buffer, stored: { frameLengths: readonly number[]; frames: Buffer }) {
    const leaves = Buffer.allocUnsafe(LEAVES_PER_SEGMENT * HASH_BYTES);
    hashLeaves(segment, leaves);
    const differing = Buffer.alloc(BITMAP_BYTES);
    const zero = Buffer.alloc(BITMAP_BYTES);
    const sent: Buffer[] = [];
    for (let leaf = 0; leaf < LEAVES_PER_SEGMENT; leaf += 1) {
      const leafHash = leaves.subarray(leaf * HASH_BYTES, (leaf + 1) * HASH_BYTES);
      const head = base.subarray(leaf * LEAF_HEAD_BYTES, (leaf + 1) * LEAF_HEAD_BYTES);
      if (leafHash.subarray(0, LEAF_HEAD_BYTES).equals(head)) continue;
      setBit(differing, leaf);
      if (isZeroLeaf(leafHash)) setBit(zero, leaf);
      else sent.push(segment.subarray(leaf * LEAF_BYTES, (leaf + 1) * LEAF_BYTES));
    }
    const packed = sent.length === 0 ? Buffer.alloc(0) : zstdCompressSync(Buffer.concat(sent));
    if (packed.length >= storedBytesOf(stored.frameLengths))
      return this.addWhole(index, stored.frameLengths, stored.frames);
    const fixed = Buffer.allocUnsafe(5);
    fixed.writeUInt32LE(index, 0);
    fixed.writeUInt8(SENT.leaves, 4);
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32LE(packed.length, 0);
    return this.#add(fixed, differing, zero, length, packed);
  }

  finish(): Buffer {
    const body = Buffer.concat([headOf(ANSWER_MAGIC, this.#count), ...this.#parts]);
    return Buffer.concat([body, hash('sha256', body, 'buffer')]);
  }

  #add(...parts: Buffer[]): void {
    this.#parts.push(...parts);
    this.#bytes += parts.reduce((sum, part) => sum + part.length, 0);
    this.#count += 1;
  }
}

/** @throws ExchangeError unless these are the bytes of one whole answer */
export function decodeAnswer(bytes: Buffer): SentSegment[] {
  if (bytes.length < HEAD_BYTES + HASH_BYTES || bytes.length > MAX_ANSWER_BYTES)
    throw new ExchangeError(`answer: has ${bytes.length} bytes`);
  const body = bytes.subarray(0, bytes.length - HASH_BYTES);
  if (!hash('sha256', body, 'buffer').equals(bytes.subarray(body.length)))
    throw new ExchangeError('answer: differs from its checksum');
  const reader = new Reader(body, ANSWER_MAGIC, 'answer');
  const segments: SentSegment[] = [];
  for (let left = reader.count(); left > 0; left -= 1) {
    const from = reader.at;
    const index = reader.uint32();
    const kind = reader.uint8();
    if (kind === SENT.whole) {
      const lengths = Array.from({ length: FRAMES_PER_SEGMENT }, () => reader.uint32());
      // A frame may be followed by any number of bytes that decode to nothing; they would be stored and charged.
      if (lengths.some((length) => length > FRAME_BOUND_BYTES))
        throw new ExchangeError(`answer: segment ${index} has a frame that is too long`);
      const frames = lengths.map((length) => reader.take(length));
      segments.push({ index, kind: 'whole', frames, wireBytes: reader.at - from });
    } else if (kind === SENT.leaves) {
      const differing = reader.take(BITMAP_BYTES);
      const zero = reader.take(BITMAP_BYTES);
      const packed = reader.take(reader.uint32());
      segments.push({ index, kind: 'leaves', differing, zero, packed, wireBytes: reader.at - from });
    } else throw new ExchangeError(`answer: kind ${kind} is not known`);
  }
  reader.end();
  return segments;
}

/**
 * Puts the leaves that differ into the base (2 MiB), which becomes the segment.
 *
 * @throws ExchangeError when they are not as many as the bitmaps say
 */
export function applyLeaves(base: Buffer, sent: Extract<SentSegment, { kind: 'leaves' }>): void {
  const { differing, zero, packed } = sent;
  const numbers = Array.from({ length: LEAVES_PER_SEGMENT }, (_, leaf) => leaf).filter((leaf) => bit(differing, leaf));
  const bytes = numbers.filter((leaf) => !bit(zero, leaf)).length * LEAF_BYTES;
  let leaves: Buffer;
  try {
    leaves = bytes === 0 ? Buffer.alloc(0) : zstdDecompressSync(packed, { maxOutputLength: bytes });
  } catch (cause) {
    throw new ExchangeError(`answer: leaves of segment ${sent.index} cannot be decoded`, { cause });
  }
  if (leaves.length !== bytes)
    throw new ExchangeError(`answer: segment ${sent.index} has ${leaves.length} bytes of leaves instead of ${bytes}`);
  let at = 0;
  for (const leaf of numbers) {
    if (bit(zero, leaf)) base.fill(0, leaf * LEAF_BYTES, (leaf + 1) * LEAF_BYTES);
    else at += leaves.copy(base, leaf * LEAF_BYTES, at, at + LEAF_BYTES);
  }
}

const bit = (bitmap: Buffer, at: number): boolean => (bitmap.readUInt8(at >>> 3) & (1 << (at & 7))) !== 0;
const setBit = (bitmap: Buffer, at: number): number =>
  bitmap.writeUInt8(bitmap.readUInt8(at >>> 3) | (1 << (at & 7)), at >>> 3);

function headOf(magic: Buffer, count: number): Buffer {
  const head = Buffer.allocUnsafe(HEAD_BYTES);
  magic.copy(head, 0);
  head.writeUInt16LE(count, magic.length);
  return head;
}

/** Reads from the front on and never beyond the end. */
class Reader {
  at = 0;

  constructor(
    private readonly bytes: Buffer,
    magic: Buffer,
    private readonly what: string,
  ) {
    if (!this.take(magic.length).equals(magic)) throw new ExchangeError(`${what}: is none`);
  }

  count(): number {
    return this.take(2).readUInt16LE(0);
  }
  uint32(): number {
    return this.take(4).readUInt32LE(0);
  }
  uint8(): number {
    return this.take(1).readUInt8(0);
  }
  take(length: number): Buffer {
    const end = this.at + length;
    if (end > this.bytes.length) throw new ExchangeError(`${this.what}: is cut off`);
    const taken = this.bytes.subarray(this.at, end);
    this.at = end;
    return taken;
  }
  end(): void {
    if (this.at !== this.bytes.length) throw new ExchangeError(`${this.what}: goes on behind its end`);
  }
}
