import { open, writeFile } from 'node:fs/promises';
import { type ByteSource, openSource } from '@ims/buckets';
import { temporaryDirectory } from '@ims/testing';
import { openReader } from '../open-disk';
import { DiskFiles, readThroughExtents } from '../spec/disk-files.spec';
import { zvhd2Identity } from '../zvhd';
import {
  type DiskBytes,
  diskBytesOf,
  type PositionedFile,
  STREAM_START,
  type StreamedFile,
  type StreamMark,
  streamVmdk,
  streamZvhd,
  writeQcow2,
  writeVhd,
} from '.';

const MIB = 2 ** 20;
const IDENTITY = zvhd2Identity('writers');

const POSITIONED: Record<string, (disk: DiskBytes) => PositionedFile> = {
  qcow2: writeQcow2,
  vhd: (disk) => writeVhd(disk, IDENTITY),
};
const STREAMED: Record<string, (disk: DiskBytes) => StreamedFile> = {
  vmdk: (disk) => streamVmdk(disk, IDENTITY),
  zvhd: (disk) => streamZvhd(disk, IDENTITY),
};
const QEMU_NAMES: Readonly<Record<string, string>> = { vhd: 'vpc' };

async function whole(file: PositionedFile): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of file.read()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The file from a mark on, with the mark behind each of its pieces. */
async function streamed(file: StreamedFile, from: StreamMark = STREAM_START) {
  const chunks: Uint8Array[] = [];
  const marks: StreamMark[] = [from];
  let { piece, start } = from;
  const notes = [...from.notes];
  for await (const { bytes, endsPiece, note } of file.read(from)) {
    chunks.push(bytes);
    start += bytes.length;
    if (note !== undefined) notes.push(note);
    if (endsPiece) marks.push({ piece: (piece += 1), start, notes: [...notes] });
  }
  return { bytes: Buffer.concat(chunks), marks };
}

describe('writers of formats (EXP-02, FMT-07, FMT-08, FMT-09)', () => {
  let files: DiskFiles;
  let disk: DiskBytes;
  const opened: ByteSource[] = [];

  beforeAll(async () => {
    files = await DiskFiles.in(await temporaryDirectory());
    await files.sparseRaw('source.raw');
    disk = await bytesOf('source.raw');
  });

  afterAll(() => Promise.all(opened.map((source) => source.close())));

  async function bytesOf(name: string): Promise<DiskBytes> {
    const source = await openSource(await files.describe(name));
    opened.push(source);
    return diskBytesOf(await openReader('raw', source, source.sizeBytes));
  }

  async function rawFile(name: string, sizeBytes: number, writes: readonly (readonly [number, Buffer])[]) {
    const handle = await open(files.path(name), 'w');
    await handle.truncate(sizeBytes);
    for (const [offset, bytes] of writes) await handle.write(bytes, 0, bytes.length, offset);
    await handle.close();
    return bytesOf(name);
  }

  const bytesFor = async (format: string, of: DiskBytes): Promise<Buffer> => {
    const positioned = POSITIONED[format];
    if (positioned !== undefined) return whole(positioned(of));
    const made = STREAMED[format];
    if (made === undefined) throw new Error(format);
    return (await streamed(made(of))).bytes;
  };

  /** What qemu-img says of a file of ours: sound, and the same disk. */
  async function agreesWithQemu(format: string, raw: string, of: DiskBytes): Promise<void> {
    const name = `${raw}.${format}`;
    await writeFile(files.path(name), await bytesFor(format, of));
    const qemu = QEMU_NAMES[format] ?? format;
    // vpc has no check; comparing reads every block of it.
    if (format !== 'vhd') await files.qemuImg('check', '-f', qemu, name);
    await files.qemuImg('compare', '-f', 'raw', '-F', qemu, raw, name);
    expect((await files.inspect(name)).virtualSizeBytes).toBe(of.sizeBytes);
  }

  it.each(['qcow2', 'vhd', 'vmdk'])('writes %s that qemu-img finds sound and equal to the disk', async (format) => {
    await agreesWithQemu(format, 'source.raw', disk);
  });

  it.each(['qcow2', 'vhd', 'vmdk'])(
    'writes %s of a disk without data, of one sector, and of one that is full',
    async (format) => {
      await agreesWithQemu(format, 'empty.raw', await rawFile('empty.raw', 3 * MIB, []));
      await agreesWithQemu(format, 'sector.raw', await rawFile('sector.raw', 512, [[0, Buffer.alloc(512, 7)]]));
      const full = Buffer.alloc(4 * MIB, 'no hole at all ');
      await agreesWithQemu(format, 'full.raw', await rawFile('full.raw', full.length, [[0, full]]));
    },
  );

  it.each(['qcow2', 'vhd', 'vmdk', 'zvhd'])('writes %s that our own reader reads back', async (format) => {
    const name = `own.${format}`;
    await writeFile(files.path(name), await bytesFor(format, disk));
    const inspection = await files.inspect(name);
    expect(inspection).toEqual({ format, virtualSizeBytes: disk.sizeBytes });
    const reader = await openReader(
      format === 'qcow2' || format === 'vhd' || format === 'vmdk' ? format : 'zvhd',
      await openSource(await files.describe(name)),
      inspection.virtualSizeBytes,
    );
    const { bytes, extents } = await readThroughExtents(reader);
    await reader.close();
    expect(bytes.equals(await files.read('source.raw'))).toBe(true);
    // Eight segments of the disk hold data; nothing of its holes is stored.
    expect(extents.reduce((sum, { length }) => sum + length, 0)).toBeLessThanOrEqual(9 * 2 * MIB);
  });

  it.each(Object.keys(POSITIONED))('makes any range of %s again, wherever it begins and ends', async (format) => {
    const all = await bytesFor(format, disk);
    const file = POSITIONED[format]?.(disk);
    if (file === undefined) throw new Error(format);
    expect(all.length).toBe(file.sizeBytes);
    for (const [offset, length] of [
      [0, 1],
      [511, 2],
      [65_535, 70_001],
      [3 * MIB - 17, 5 * MIB + 3],
      [all.length - 1000, 5000],
      [all.length, 10],
    ] as const) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of file.read({ offset, length })) chunks.push(chunk);
      expect(Buffer.concat(chunks).equals(all.subarray(offset, offset + length))).toBe(true);
    }
  });

  it.each(Object.keys(STREAMED))('goes on with %s at any piece, by the same bytes', async (format) => {
    const make = STREAMED[format];
    if (make === undefined) throw new Error(format);
    const { bytes, marks } = await streamed(make(disk));
    const file = make(disk);
    expect(bytes.length).toBeLessThanOrEqual(file.maxBytes);
    // Header, at least two pieces of data, end.
    expect(marks.length).toBeGreaterThanOrEqual(format === 'zvhd' ? 10 : 4);
    // The ends and the middle: the pieces between them are made alike.
    for (const at of new Set([0, 1, 2, marks.length >> 1, marks.length - 2, marks.length - 1])) {
      const mark = marks[at];
      if (mark === undefined) throw new RangeError(`no piece ${at}`);
      const { bytes: rest } = await streamed(file, JSON.parse(JSON.stringify(mark)) as StreamMark);
      expect(rest.equals(bytes.subarray(mark.start))).toBe(true);
    }
  });

  it('lays a table out for each 512 MiB and each 32 MiB that hold data, on a disk of 10 GiB', async () => {
    const words = Buffer.alloc(70_000, 'far away ');
    // Beyond what 32 bits address, and beyond one sector of each directory.
    const far = await rawFile('far.raw', 10 * 2 ** 30, [
      [0, words],
      [5 * 2 ** 30 - 4096, words],
      [10 * 2 ** 30 - words.length, words],
    ]);
    for (const format of ['qcow2', 'vhd', 'vmdk']) await agreesWithQemu(format, 'far.raw', far);
  });
});
