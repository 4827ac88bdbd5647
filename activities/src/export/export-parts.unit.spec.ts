import { createHash } from 'node:crypto';
import type { ExportedPart } from '@ims/db';
import { type DiskBytes, streamVmdk, streamZvhd, writeQcow2, zvhd2Identity } from '@ims/image-format';
import type { ExportFile } from './export-file';
import { type MadePart, makeParts, OtherBytesError } from './export-parts';

const MIB = 2 ** 20;
const SIGNAL = new AbortController().signal;
const IDENTITY = zvhd2Identity('parts');

// Three tables of VMDK, and three segments of 2 MiB with something in them.
const SIZE = 70 * MIB;
const DATA = [0, 30 * MIB, 66 * MIB];

/** A disk with text of changing compressibility. */
function aDisk(seed = 0): DiskBytes {
  const bytes = Buffer.alloc(SIZE);
  for (const at of DATA)
    for (let n = at; n < at + 2 * MIB; n += 32) bytes.writeUInt32LE(Math.imul(n + seed, 2_654_435_761) >>> 0, n);
  return {
    sizeBytes: bytes.length,
    async *read({ offset, length } = { offset: 0, length: bytes.length }) {
      yield bytes.subarray(offset, offset + length);
    },
    *dataRanges() {
      for (const offset of DATA) yield { offset, length: 2 * MIB };
    },
  };
}

const FILES: Record<string, (disk: DiskBytes) => ExportFile> = {
  qcow2: (disk) => ({ kind: 'positioned', file: writeQcow2(disk) }),
  vmdk: (disk) => ({ kind: 'streamed', file: streamVmdk(disk, IDENTITY) }),
  zvhd: (disk) => ({ kind: 'streamed', file: streamZvhd(disk, IDENTITY) }),
};
const fileOf = (format: string, disk: DiskBytes): ExportFile => {
  const make = FILES[format];
  if (make === undefined) throw new Error(format);
  return make(disk);
};

async function made(file: ExportFile, done: readonly ExportedPart[], partBytes: number): Promise<MadePart[]> {
  const parts: MadePart[] = [];
  for await (const part of makeParts(file, partBytes, done, SIGNAL)) parts.push(part);
  return parts;
}

/** As a row comes back from the database. */
const rowOf = ({ part, sizeBytes, md5, mark }: MadePart): ExportedPart => ({
  part,
  sizeBytes,
  md5: md5.toString('hex'),
  etag: '',
  mark: JSON.parse(JSON.stringify(mark)) as unknown,
});
const sumsOf = (parts: readonly MadePart[]) => parts.map(({ part, md5 }) => `${part} ${md5.toString('hex')}`);

describe('an export that goes on where another worker was stopped', () => {
  const disk = aDisk();

  // Odd, so that parts end inside of pieces, and small, so that several end in one.
  it.each(Object.keys(FILES).flatMap((format) => [[format, 300_007] as const, [format, 131_072] as const]))(
    'makes the same parts of %s from any part on, of %d bytes',
    async (format, partBytes) => {
      const parts = await made(fileOf(format, disk), [], partBytes);
      expect(parts.length).toBeGreaterThan(2);
      for (const { pieces, sizeBytes, md5 } of parts) {
        const bytes = Buffer.concat(pieces);
        expect(bytes.length).toBe(sizeBytes);
        expect(createHash('md5').update(bytes).digest().equals(md5)).toBe(true);
      }
      const half = parts.length >> 1;
      for (const sent of new Set([0, 1, half, half + 1, parts.length - 1, parts.length])) {
        const rest = await made(fileOf(format, disk), parts.slice(0, sent).map(rowOf), partBytes);
        expect(sumsOf(rest)).toEqual(sumsOf(parts.slice(sent)));
      }
    },
  );

  it.each(['vmdk', 'zvhd'])('notices that %s would not be made as before', async (format) => {
    const parts = await made(fileOf(format, disk), [], 100_001);
    const other = made(fileOf(format, aDisk(1)), parts.slice(0, 1).map(rowOf), 100_001);
    await expect(other).rejects.toThrow(OtherBytesError);
  });
});
