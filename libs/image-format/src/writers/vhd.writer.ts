import { chsGeometry } from '../zvhd/stream-page';
import type { Zvhd2Identity } from '../zvhd/zvhd2-layout';
import { dataSegments, type DiskBytes, SEGMENT_BYTES, wholeSectorBytes } from './disk-bytes';
import { fixedSection, joinSections, type PositionedFile, segmentSection } from './positioned-file';

const SECTOR_BYTES = 512;
const HEADER_BYTES = 1024;
const TABLE_AT = SECTOR_BYTES + HEADER_BYTES;
const TYPE_DYNAMIC = 3;
const NOT_STORED = 0xffffffff;
/** Says that the size below is exact, to qemu as to the vendor's tools (image-formats 1): others count by the geometry, which rounds. */
const CREATOR = 'qem2';
// Blocks are addressed by sector numbers of 32 bits; beyond this the last ones could not be (image-formats 5).
const LIMIT_BYTES = 2040 * 2 ** 30;

/**
 * A disk as dynamic VHD of exactly its size (image-formats 1): copy of the footer, header, block table, every segment that may hold data behind a
 * bitmap of ones, footer. Where each byte lies follows from the segments alone. Identity and time come from `identity`, so the same disk gives the
 * same bytes. Throws `RangeError` above 2040 GiB.
 *
 * @example const file = writeVhd(disk, zvhd2Identity(manifestHash));
 */
export function writeVhd(disk: DiskBytes, identity: Zvhd2Identity): PositionedFile {
  const sizeBytes = wholeSectorBytes(disk);
  if (sizeBytes > LIMIT_BYTES) throw new RangeError(`a VHD disk of ${sizeBytes} bytes: 2040 GiB are possible`);
  const segments = dataSegments(disk);
  const entries = Math.ceil(sizeBytes / SEGMENT_BYTES);
  const table = Buffer.alloc(Math.ceil((entries * 4) / SECTOR_BYTES) * SECTOR_BYTES, 0xff);
  // One bit for each sector of a block, all set: 4096 bits are one sector.
  const bitmap = Buffer.alloc(SECTOR_BYTES, 0xff);
  const sectorsPerBlock = (bitmap.length + SEGMENT_BYTES) / SECTOR_BYTES;
  const firstSector = (TABLE_AT + table.length) / SECTOR_BYTES;
  for (let n = 0; n < entries; n += 1) table.writeUInt32BE(NOT_STORED, n * 4);
  segments.forEach((index, rank) => table.writeUInt32BE(firstSector + rank * sectorsPerBlock, index * 4));

  const footer = footerOf(sizeBytes, identity);
  return joinSections([
    fixedSection(footer),
    fixedSection(headerOf(entries)),
    fixedSection(table),
    segmentSection(disk, segments, { head: bitmap, lastBytes: SEGMENT_BYTES }),
    fixedSection(footer),
  ]);
}

function footerOf(sizeBytes: number, { headerTime, uuid }: Zvhd2Identity): Buffer {
  const footer = Buffer.alloc(SECTOR_BYTES);
  footer.write('conectix', 0, 'latin1');
  // Reserved, must be set.
  footer.writeUInt32BE(2, 8);
  footer.writeUInt32BE(0x00010000, 12);
  footer.writeBigUInt64BE(BigInt(SECTOR_BYTES), 16);
  footer.writeUInt32BE(headerTime, 24);
  footer.write(CREATOR, 28, 'latin1');
  footer.writeUInt32BE(0x00050003, 32);
  footer.write('Wi2k', 36, 'latin1');
  footer.writeBigUInt64BE(BigInt(sizeBytes), 40);
  footer.writeBigUInt64BE(BigInt(sizeBytes), 48);
  footer.writeUInt32BE(chsGeometry(sizeBytes), 56);
  footer.writeUInt32BE(TYPE_DYNAMIC, 60);
  uuid.copy(footer, 68);
  footer.writeUInt32BE(checksum(footer), 64);
  return footer;
}

function headerOf(entries: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write('cxsparse', 0, 'latin1');
  // There is no further header.
  header.fill(0xff, 8, 16);
  header.writeBigUInt64BE(BigInt(TABLE_AT), 16);
  header.writeUInt32BE(0x00010000, 24);
  header.writeUInt32BE(entries, 28);
  header.writeUInt32BE(SEGMENT_BYTES, 32);
  header.writeUInt32BE(checksum(header), 36);
  return header;
}

/** Ones' complement of the sum of all bytes, the checksum's own still being zero. */
const checksum = (bytes: Buffer): number => ~bytes.reduce((sum, byte) => sum + byte, 0) >>> 0;
