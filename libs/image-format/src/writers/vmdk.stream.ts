import { promisify } from 'node:util';
import { constants, deflate, type InputType, type ZlibOptions } from 'node:zlib';
import type { Zvhd2Identity } from '../zvhd/zvhd2-layout';
import { dataSegments, type DiskBytes, isZero, readSegments, SEGMENT_BYTES, wholeSectorBytes } from './disk-bytes';
import { inOrder, longestCompressed, type StreamChunk, type StreamedFile } from './streamed-file';

const zlib: (bytes: InputType, options: ZlibOptions) => Promise<Buffer> = promisify(deflate);

const SECTOR_BYTES = 512;
const GRAIN_BYTES = 64 * 1024;
const GRAIN_SECTORS = GRAIN_BYTES / SECTOR_BYTES;
const GRAINS_PER_TABLE = 512;
/** Guest bytes behind one grain table. */
const TABLE_SPAN_BYTES = GRAINS_PER_TABLE * GRAIN_BYTES;
const SEGMENTS_PER_TABLE = TABLE_SPAN_BYTES / SEGMENT_BYTES;
const TABLE_BYTES = GRAINS_PER_TABLE * 4;
const DESCRIPTOR_SECTORS = 20;
// Header and descriptor, filled up to one grain as other writers do.
const FIRST_GRAIN_SECTOR = GRAIN_SECTORS;
/** Newlines are intact, grains are compressed, markers are there. */
const FLAGS = 0x30001;
const DIRECTORY_AT_END = 0xffff_ffff_ffff_ffffn;
const MARKER = { end: 0, table: 1, directory: 2, footer: 3 } as const;
// Grains at once: two segments' worth, so that the pool of threads never waits.
const AT_ONCE = 64;

/**
 * A disk as VMDK, stream-optimized (image-formats 1): header, descriptor, then for each 32 MiB that hold data their compressed grains and the table
 * of these, and at the end the directory and a footer that says where it lies. Grains of zeros are left out. Made on the pool of threads.
 *
 * @example for await (const { bytes } of streamVmdk(disk, zvhd2Identity(hash)).read(STREAM_START)) socket.write(bytes);
 */
export function streamVmdk(disk: DiskBytes, identity: Zvhd2Identity): StreamedFile {
  const sectors = wholeSectorBytes(disk) / SECTOR_BYTES;
  const segments = dataSegments(disk);
  const tables = tablesOf(segments);
  const directoryEntries = Math.ceil(sectors / (GRAINS_PER_TABLE * GRAIN_SECTORS));
  const directoryBytes = wholeSectors(directoryEntries * 4);
  return {
    maxBytes:
      FIRST_GRAIN_SECTOR * SECTOR_BYTES +
      segments.length * (SEGMENT_BYTES / GRAIN_BYTES) * wholeSectors(12 + longestCompressed(GRAIN_BYTES)) +
      tables.length * (SECTOR_BYTES + TABLE_BYTES) +
      directoryBytes +
      4 * SECTOR_BYTES,
    async *read({ piece, start, notes }, signal) {
      const known = [...notes];
      let position = start;
      if (piece === 0) {
        const bytes = beginningOf(sectors, identity);
        position += bytes.length;
        yield { bytes, endsPiece: true };
      }
      const first = Math.max(0, piece - 1);
      const left = tables.slice(first);
      const grains = inOrder(
        grainsOf(disk, segments.subarray(left[0]?.from ?? segments.length), signal),
        AT_ONCE,
        pack,
      );
      try {
        for (const { number, to, from } of left) {
          const table = Buffer.alloc(TABLE_BYTES);
          // Taken by hand: the loop over one table must not close the iterator of all grains.
          for (let n = from * GRAINS_PER_SEGMENT; n < to * GRAINS_PER_SEGMENT; n += 1) {
            signal?.throwIfAborted();
            const next = await grains.next();
            if (next.done === true) throw new RangeError('a disk has fewer grains than segments');
            const { grain, bytes } = next.value;
            if (bytes === undefined) continue;
            table.writeUInt32LE(position / SECTOR_BYTES, (grain - number * GRAINS_PER_TABLE) * 4);
            position += bytes.length;
            yield { bytes, endsPiece: false };
          }
          const note = (position + SECTOR_BYTES) / SECTOR_BYTES;
          known.push(note);
          const end: StreamChunk = {
            bytes: Buffer.concat([marker(TABLE_BYTES / SECTOR_BYTES, MARKER.table), table]),
            endsPiece: true,
            note,
          };
          position += end.bytes.length;
          yield end;
        }
      } finally {
        await grains.return();
      }
      if (piece > tables.length + 1) return;
      const directory = Buffer.alloc(directoryBytes);
      tables.forEach(({ number }, n) => directory.writeUInt32LE(known[n] ?? 0, number * 4));
      const directoryAt = BigInt((position + SECTOR_BYTES) / SECTOR_BYTES);
      yield {
        bytes: Buffer.concat([
          marker(directoryBytes / SECTOR_BYTES, MARKER.directory),
          directory,
          marker(1, MARKER.footer),
          headerOf(sectors, directoryAt),
          marker(0, MARKER.end),
        ]),
        endsPiece: true,
      };
    },
  };
}

const GRAINS_PER_SEGMENT = SEGMENT_BYTES / GRAIN_BYTES;
const wholeSectors = (bytes: number): number => Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;

async function* grainsOf(disk: DiskBytes, segments: Uint32Array, signal?: AbortSignal) {
  for await (const { index, bytes } of readSegments(disk, segments, signal)) {
    for (let n = 0; n < GRAINS_PER_SEGMENT; n += 1) {
      const at = n * GRAIN_BYTES;
      yield { grain: index * GRAINS_PER_SEGMENT + n, bytes: bytes.subarray(at, at + GRAIN_BYTES) };
    }
  }
}

/** A grain as it lies in the file: its first sector and length, the compressed bytes, filled up to whole sectors. */
async function pack({ grain, bytes }: { grain: number; bytes: Buffer }): Promise<{ grain: number; bytes?: Buffer }> {
  if (isZero(bytes)) return { grain };
  const compressed = await zlib(bytes, { level: constants.Z_BEST_SPEED });
  const packed = Buffer.alloc(wholeSectors(12 + compressed.length));
  packed.writeBigUInt64LE(BigInt(grain * GRAIN_SECTORS), 0);
  packed.writeUInt32LE(compressed.length, 8);
  compressed.copy(packed, 12);
  return { grain, bytes: packed };
}

function marker(sectors: number, type: number): Buffer {
  const bytes = Buffer.alloc(SECTOR_BYTES);
  bytes.writeBigUInt64LE(BigInt(sectors), 0);
  bytes.writeUInt32LE(type, 12);
  return bytes;
}

function headerOf(sectors: number, directoryAt: bigint): Buffer {
  const header = Buffer.alloc(SECTOR_BYTES);
  header.write('KDMV', 0, 'latin1');
  header.writeUInt32LE(3, 4);
  header.writeUInt32LE(FLAGS, 8);
  header.writeBigUInt64LE(BigInt(sectors), 12);
  header.writeBigUInt64LE(BigInt(GRAIN_SECTORS), 20);
  header.writeBigUInt64LE(1n, 28);
  header.writeBigUInt64LE(BigInt(DESCRIPTOR_SECTORS), 36);
  header.writeUInt32LE(GRAINS_PER_TABLE, 44);
  header.writeBigUInt64LE(directoryAt, 56);
  header.writeBigUInt64LE(BigInt(FIRST_GRAIN_SECTOR), 64);
  // By these a reader notices a file that was sent as text.
  header.write('\n \r\n', 73, 'latin1');
  // Deflate.
  header.writeUInt16LE(1, 77);
  return header;
}

function beginningOf(sectors: number, { uuid }: Zvhd2Identity): Buffer {
  const heads = 255;
  const perTrack = 63;
  const descriptor = [
    '# Disk DescriptorFile',
    'version=1',
    // Anything but the value that means "no parent".
    `CID=${(uuid.readUInt32BE(0) & 0xfffffffe) >>> 0 === 0xfffffffe ? '00000001' : uuid.toString('hex', 0, 4)}`,
    'parentCID=ffffffff',
    'createType="streamOptimized"',
    '',
    '# Extent description',
    `RW ${sectors} SPARSE "disk.vmdk"`,
    '',
    '# The Disk Data Base',
    '#DDB',
    '',
    'ddb.virtualHWVersion = "4"',
    `ddb.geometry.cylinders = "${Math.max(1, Math.floor(sectors / heads / perTrack))}"`,
    `ddb.geometry.heads = "${heads}"`,
    `ddb.geometry.sectors = "${perTrack}"`,
    'ddb.adapterType = "lsilogic"',
    '',
  ].join('\n');
  const bytes = Buffer.alloc(FIRST_GRAIN_SECTOR * SECTOR_BYTES);
  headerOf(sectors, DIRECTORY_AT_END).copy(bytes);
  bytes.write(descriptor, SECTOR_BYTES, 'latin1');
  return bytes;
}

/** The 32 MiB that hold data, and which of the segments lie in each. */
function tablesOf(segments: Uint32Array): { number: number; from: number; to: number }[] {
  const tables: { number: number; from: number; to: number }[] = [];
  segments.forEach((index, rank) => {
    const number = Math.floor(index / SEGMENTS_PER_TABLE);
    const last = tables.at(-1);
    if (last?.number === number) last.to = rank + 1;
    else tables.push({ number, from: rank, to: rank + 1 });
  });
  return tables;
}
