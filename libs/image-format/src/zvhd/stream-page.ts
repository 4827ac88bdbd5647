import { ImsError } from '@ims/contract';

/** Both formats are made of pages; header, middle and footer are one page each (image-formats 3 and 4). */
export const PAGE_BYTES = 4096;
/** Guest bytes of a data block; the public reader hard-codes this numbering (image-formats 4). */
export const BLOCK_BYTES = 2 * 1024 * 1024;

const GIB = 1024 ** 3;
const SECTOR_BYTES = 512;
/** Fields and checksum live in the first sector of a page, the rest is ignored. */
const FIELD_BYTES = 512;
const CHECKSUM_OFFSET = 64;
const CREATOR_NEW = 0x00010004;
const CREATOR_OLD = 0x00010003;
const TYPE_STREAM = 4;

const COOKIES = { zvhd: 'stream\0\0', zvhd2: 'z2strm\0\0' } as const;
export type StreamKind = keyof typeof COOKIES;

/** Fields of a page that differ between files; sizes in bytes, `seconds` since 2000-01-01 UTC, `uuid` 16 bytes. */
export interface StreamPage {
  kind: StreamKind;
  originalSizeBytes: number;
  currentSizeBytes: number;
  seconds: number;
  uuid: Buffer;
}

/** The documented refusal of a listed format that is broken or hostile (image-formats 2). */
export const refuse = (reason: string): ImsError => new ImsError('IMG.0057', reason);

/** The size readers present: the original rounded up to 1 GiB (image-formats 3, offset 48). */
export const currentSizeBytes = (originalSizeBytes: number): number => Math.ceil(originalSizeBytes / GIB) * GIB;

/**
 * CHS geometry of a disk of `sizeBytes`, packed as the page holds it: cylinders << 16 | heads << 8 | sectors.
 * Algorithm of the VHD specification (appendix "CHS calculation"), sector count capped at 65535 x 16 x 255.
 */
export function chsGeometry(sizeBytes: number): number {
  const sectors = Math.min(Math.floor(sizeBytes / SECTOR_BYTES), 65535 * 16 * 255);
  if (sectors >= 65535 * 16 * 63) return packGeometry(Math.floor(sectors / 255 / 16), 16, 255);
  let perTrack = 17;
  let tracks = Math.floor(sectors / perTrack);
  let heads = Math.max(4, Math.floor((tracks + 1023) / 1024));
  if (tracks >= heads * 1024 || heads > 16) {
    perTrack = 31;
    heads = 16;
    tracks = Math.floor(sectors / perTrack);
  }
  if (tracks >= heads * 1024) {
    perTrack = 63;
    heads = 16;
    tracks = Math.floor(sectors / perTrack);
  }
  return packGeometry(Math.floor(tracks / heads), heads, perTrack);
}

const packGeometry = (cylinders: number, heads: number, perTrack: number): number =>
  cylinders * 0x10000 + heads * 0x100 + perTrack;

/** One's complement of the byte sum of the first 512 bytes with the checksum field zero. */
export function pageChecksum(page: Uint8Array): number {
  let sum = 0;
  for (let position = 0; position < FIELD_BYTES; position++) {
    if (position >= CHECKSUM_OFFSET && position < CHECKSUM_OFFSET + 4) continue;
    sum += page[position] ?? 0;
  }
  return ~sum >>> 0;
}

/** Writes the checksum into the page's own field. */
export function sealPage(page: Buffer): Buffer {
  page.writeUInt32LE(pageChecksum(page), CHECKSUM_OFFSET);
  return page;
}

/** A page with the fields of image-formats 3; not sealed, so that ZVHD2 can add its own fields. */
export function encodeStreamPage(fields: StreamPage): Buffer {
  if (fields.uuid.length !== 16) throw new TypeError(`uuid has ${fields.uuid.length} bytes, 16 are needed`);
  const page = Buffer.alloc(PAGE_BYTES);
  page.write(COOKIES[fields.kind], 0, 'latin1');
  page.writeUInt32LE(2, 8);
  page.writeUInt32LE(0x00010000, 12);
  page.fill(0xff, 16, 24);
  page.writeUInt32LE(fields.seconds, 24);
  page.write('tap\0', 28, 'latin1');
  page.writeUInt32LE(CREATOR_NEW, 32);
  page.writeBigUInt64LE(BigInt(fields.originalSizeBytes), 40);
  page.writeBigUInt64LE(BigInt(fields.currentSizeBytes), 48);
  page.writeUInt32LE(chsGeometry(fields.originalSizeBytes), 56);
  page.writeUInt32LE(TYPE_STREAM, 60);
  fields.uuid.copy(page, 68);
  return page;
}

/** Whether the page starts with the cookie of `kind`; data blocks never do. */
export const hasCookie = (page: Uint8Array, kind: StreamKind): boolean =>
  Buffer.from(page.buffer, page.byteOffset, 8).toString('latin1') === COOKIES[kind];

/**
 * Reads a sealed page. Throws `ImsError` IMG.0057 for a wrong cookie, checksum, type or version, and for sizes that are
 * zero, not whole sectors, above `limitBytes`, or contradict each other.
 */
export function decodeStreamPage(page: Buffer, kind: StreamKind, where: string, limitBytes: number): StreamPage {
  if (!hasCookie(page, kind)) throw refuse(`${kind} ${where} has no cookie`);
  if (page.readUInt32LE(CHECKSUM_OFFSET) !== pageChecksum(page)) throw refuse(`${kind} ${where} has a bad checksum`);
  const version = page.readUInt32LE(32);
  if (version !== CREATOR_NEW && version !== CREATOR_OLD) {
    throw refuse(`${kind} ${where} has creator version 0x${version.toString(16)}`);
  }
  if (page.readUInt32LE(60) !== TYPE_STREAM) throw refuse(`${kind} ${where} has disk type ${page.readUInt32LE(60)}`);
  const original = page.readBigUInt64LE(40);
  const current = page.readBigUInt64LE(48);
  if (original === 0n) throw refuse(`${kind} ${where} gives the disk size 0`);
  if (original > BigInt(limitBytes)) throw refuse(`${kind} ${where} gives the disk size ${original}, over the limit`);
  if (original % BigInt(SECTOR_BYTES) !== 0n) throw refuse(`${kind} ${where} gives a size of no whole sectors`);
  const originalSizeBytes = Number(original);
  // Writers round up to 1 GiB; a reader only needs that the two sizes do not contradict each other.
  if (current < original || current > BigInt(limitBytes)) {
    throw refuse(`${kind} ${where} gives the presented size ${current} for a disk of ${original} bytes`);
  }
  return {
    kind,
    originalSizeBytes,
    currentSizeBytes: Number(current),
    seconds: page.readUInt32LE(24),
    uuid: Buffer.from(page.subarray(68, 84)),
  };
}
