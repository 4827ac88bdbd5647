import { temporaryDirectory } from '@ims/testing';
import fc from 'fast-check';
import { GRANULE_BYTES, LayerFile } from './layer-file';
import { type BottomDisk, type ByteRange, granules, LayeredDisk } from './layered-disk';

// Ends inside a granule, as the disks of a boot check may.
const SIZE_BYTES = 19 * GRANULE_BYTES + 512;
const BOTTOM_BYTES = 6 * GRANULE_BYTES + 1000;

/** `holes` are zeroed in `bytes`; neither end need be that of a granule. */
function bottomOf(bytes: Buffer, holes: readonly ByteRange[] = []): BottomDisk & { bytesRead: number } {
  const isData = new Uint8Array(bytes.length).fill(1);
  for (const { offset, length } of holes) {
    bytes.subarray(offset, offset + length).fill(0);
    isData.fill(0, offset, offset + length);
  }
  const bottom = {
    sizeBytes: bytes.length,
    bytesRead: 0,
    read: (offset: number, target: Uint8Array): Promise<void> => {
      if (offset + target.length > bytes.length) return Promise.reject(new RangeError('past the end of the bottom'));
      target.set(bytes.subarray(offset, offset + target.length));
      bottom.bytesRead += target.length;
      return Promise.resolve();
    },
    dataRanges: (offset: number, length: number): Promise<ByteRange[]> => {
      if (offset + length > bytes.length) return Promise.reject(new RangeError('past the end of the bottom'));
      const ranges: ByteRange[] = [];
      for (let at = isData.indexOf(1, offset); at >= 0 && at < offset + length;) {
        const next = isData.indexOf(0, at);
        const end = Math.min(offset + length, next < 0 ? bytes.length : next);
        ranges.push({ offset: at, length: end - at });
        at = isData.indexOf(1, end);
      }
      return Promise.resolve(ranges);
    },
    close: () => Promise.resolve(),
  };
  return bottom;
}

let directory: string;
let count = 0;
const layer = (granuleBytes = GRANULE_BYTES): Promise<LayerFile> =>
  LayerFile.create(directory, { id: `layer-${(count += 1)}`, sizeBytes: SIZE_BYTES, granuleBytes });

/** Where data may lie, granule by granule: as plain as it can be told. */
async function plainStatus(
  files: readonly LayerFile[],
  bottom: BottomDisk | undefined,
  { offset, length }: ByteRange,
): Promise<{ length: number; isData: boolean }[]> {
  const inside = Math.min(offset + length, bottom?.sizeBytes ?? 0) - offset;
  const data = inside > 0 ? [...((await bottom?.dataRanges(offset, inside)) ?? [])] : [];
  const runs: { length: number; isData: boolean }[] = [];
  for (const part of granules(offset, length, GRANULE_BYTES)) {
    const start = part.at - (part.at % GRANULE_BYTES);
    const isData =
      files.some((file) => file.holds(part.at)) ||
      data.some((range) => range.offset < start + GRANULE_BYTES && range.offset + range.length > start);
    const last = runs.at(-1);
    if (last?.isData === isData) last.length += part.length;
    else runs.push({ length: part.length, isData });
  }
  return runs;
}

async function wholeOf(disk: LayeredDisk): Promise<Buffer> {
  const bytes = Buffer.alloc(disk.sizeBytes, 0xee);
  await disk.read(0, bytes);
  return bytes;
}

beforeAll(async () => {
  directory = await temporaryDirectory();
});

describe(LayeredDisk.name, () => {
  const range = fc.record({ offset: fc.nat(SIZE_BYTES - 1), length: fc.nat(5 * GRANULE_BYTES), fill: fc.nat(255) });
  const granuleBytes = fc.constantFrom(GRANULE_BYTES, 4 * GRANULE_BYTES);
  const anyBottom = fc.option(
    fc.record({
      sizeBytes: fc.constantFrom(BOTTOM_BYTES, SIZE_BYTES, 30 * GRANULE_BYTES),
      holes: fc.array(fc.record({ offset: fc.nat(20 * GRANULE_BYTES), length: fc.nat(6 * GRANULE_BYTES) }), {
        maxLength: 4,
      }),
    }),
    { nil: undefined },
  );
  const step = fc.oneof(
    { weight: 5, arbitrary: range.map((value) => ({ kind: 'write', ...value }) as const) },
    { weight: 2, arbitrary: range.map((value) => ({ kind: 'zero', ...value }) as const) },
    { weight: 1, arbitrary: granuleBytes.map((bytes) => ({ kind: 'push', granuleBytes: bytes }) as const) },
    { weight: 1, arbitrary: fc.constant({ kind: 'copy-up' } as const) },
    { weight: 1, arbitrary: fc.constant({ kind: 'reopen' } as const) },
    { weight: 1, arbitrary: fc.constant({ kind: 'die' } as const) },
  );

  it('reads as one plain disk through any writes, snapshots, copies, reopenings and deaths, tells its holes, and frozen layers never change', async () => {
    await fc.assert(
      fc.asyncProperty(anyBottom, granuleBytes, fc.array(step, { maxLength: 20 }), async (below, first, steps) => {
        const model = Buffer.alloc(SIZE_BYTES);
        const content = Buffer.alloc(below?.sizeBytes ?? 0, 0x42);
        let bottom: BottomDisk | undefined = below === undefined ? undefined : bottomOf(content, below.holes);
        content.copy(model);
        let files: [LayerFile, ...LayerFile[]] = [await layer(first)];
        let disk = new LayeredDisk(SIZE_BYTES, files, bottom);
        let frozen: Buffer | undefined;
        for (const action of steps) {
          switch (action.kind) {
            case 'write':
            case 'zero': {
              const end = Math.min(SIZE_BYTES, action.offset + action.length);
              const value = action.kind === 'zero' ? 0 : action.fill;
              model.fill(value, action.offset, end);
              if (action.kind === 'zero') await disk.writeZeroes(action.offset, end - action.offset);
              else await disk.write(action.offset, Buffer.alloc(end - action.offset, value));
              break;
            }
            case 'push': {
              const letIn = await disk.hold();
              await disk.flushHeld();
              frozen = Buffer.from(model);
              const top = await layer(action.granuleBytes);
              files = [top, ...files];
              disk.push(top);
              letIn();
              break;
            }
            case 'copy-up': {
              await disk.copyUp();
              const letIn = await disk.hold();
              await disk.flushHeld();
              await disk.detach();
              letIn();
              files = [files[0]];
              bottom = undefined;
              frozen = undefined;
              break;
            }
            case 'die':
            case 'reopen': {
              if (action.kind === 'reopen') await disk.flush();
              await disk.close();
              const geometries = files.map(({ geometry }) => geometry);
              const [top, ...below] = await Promise.all(
                geometries.map((geometry) => LayerFile.open(directory, geometry, 'r+')),
              );
              if (top === undefined) throw new Error('no layer');
              files = [top, ...below];
              disk = new LayeredDisk(SIZE_BYTES, files, bottom);
              // What was not flushed may be there or not, but whatever is found stays.
              if (action.kind === 'die') await disk.read(0, model);
              break;
            }
          }
        }
        expect((await wholeOf(disk)).equals(model)).toBe(true);
        const [, second, ...rest] = files;
        if (frozen !== undefined && second !== undefined)
          expect((await wholeOf(new LayeredDisk(SIZE_BYTES, [second, ...rest], bottom))).equals(frozen)).toBe(true);
        let at = 0;
        for (const run of await disk.status(0, SIZE_BYTES)) {
          if (!run.isData) expect(model.subarray(at, at + run.length).every((byte) => byte === 0)).toBe(true);
          at += run.length;
        }
        expect(at).toBe(SIZE_BYTES);
        for (const { offset, length } of [
          { offset: 0, length: SIZE_BYTES },
          ...steps.filter((one) => 'offset' in one),
        ]) {
          const part = { offset, length: Math.min(length, SIZE_BYTES - offset) };
          expect(await disk.status(part.offset, part.length)).toEqual(await plainStatus(files, bottom, part));
          for (const [depth, { geometry }] of files.entries()) {
            const changed = disk.changedSince(geometry.id, part.offset, part.length) ?? [];
            const plain = await plainStatus(files.slice(0, depth), undefined, part);
            expect(changed.map((one) => one.length)).toEqual(
              plain.filter(({ isData }) => isData).map((one) => one.length),
            );
            for (const one of changed) expect(files.slice(0, depth).some((file) => file.holds(one.offset))).toBe(true);
          }
        }
        expect(disk.changedSince('another', 0, SIZE_BYTES)).toBeUndefined();
        await disk.close();
      }),
      { numRuns: 40 },
    );
  });

  it('keeps what was flushed and loses whole writes only, when the process dies before the next flush', async () => {
    const bottom = bottomOf(Buffer.alloc(BOTTOM_BYTES, 0x11));
    const file = await layer();
    const disk = new LayeredDisk(SIZE_BYTES, [file], bottom);
    await disk.write(100, Buffer.alloc(50, 0x22));
    await disk.flush();
    await disk.write(GRANULE_BYTES + 100, Buffer.alloc(50, 0x33));
    // What a new process finds: the files as they are, nothing of this one's memory.
    const found = new LayeredDisk(SIZE_BYTES, [await LayerFile.open(directory, file.geometry, 'r')], bottom);
    const bytes = await wholeOf(found);
    expect(bytes.subarray(100, 150).every((byte) => byte === 0x22)).toBe(true);
    expect(bytes.subarray(GRANULE_BYTES, 2 * GRANULE_BYTES).every((byte) => byte === 0x11)).toBe(true);
    await found.close();
    await disk.close();
  });

  it('does not lose a write that meets the copy of its granule from below', async () => {
    const disk = new LayeredDisk(SIZE_BYTES, [await layer()], bottomOf(Buffer.alloc(BOTTOM_BYTES, 0x11)));
    const writes = Array.from({ length: 60 }, (_, index) => disk.write(index * 6000, Buffer.alloc(3000, 0x77)));
    await Promise.all([disk.copyUp(), ...writes]);
    const bytes = await wholeOf(disk);
    for (let index = 0; index < 60; index += 1) {
      expect(bytes.subarray(index * 6000, index * 6000 + 3000).every((byte) => byte === 0x77)).toBe(true);
    }
    expect(bytes[3500]).toBe(0x11);
    await disk.close();
  });

  it.each([
    ['in a hole of the bottom', 2 * GRANULE_BYTES],
    ['past its end', 12 * GRANULE_BYTES],
  ])('does not bring back a write that died before its mark, %s, when it stands alone', async (_, offset) => {
    const bottom = bottomOf(Buffer.alloc(BOTTOM_BYTES, 0x11), [{ offset: GRANULE_BYTES, length: 4 * GRANULE_BYTES }]);
    const file = await layer();
    const dying = new LayeredDisk(SIZE_BYTES, [file], bottom);
    await dying.write(offset + 5000, Buffer.alloc(50, 0x33));
    await dying.close();
    const disk = new LayeredDisk(SIZE_BYTES, [await LayerFile.open(directory, file.geometry, 'r+')], bottom);
    const before = await wholeOf(disk);
    expect(before[offset + 5000]).toBe(0);
    await disk.copyUp();
    const letIn = await disk.hold();
    await disk.detach();
    letIn();
    expect((await wholeOf(disk)).equals(before)).toBe(true);
    // Imaging reads the file itself.
    const plain = Buffer.alloc(SIZE_BYTES);
    await disk.top.read(0, plain);
    expect(plain.equals(before)).toBe(true);
    await disk.close();
  });

  it('copies up each granule of data once and no hole', async () => {
    const bottom = bottomOf(Buffer.alloc(BOTTOM_BYTES, 0x11), [{ offset: GRANULE_BYTES, length: 4 * GRANULE_BYTES }]);
    const disk = new LayeredDisk(SIZE_BYTES, [await layer()], bottom);
    // The first granule, and from the end of the hole to that of the bottom.
    expect(await disk.copyUp()).toBe(3 * GRANULE_BYTES);
    expect(bottom.bytesRead).toBe(BOTTOM_BYTES - 4 * GRANULE_BYTES);
    expect(await disk.copyUp()).toBe(0);
    expect(bottom.bytesRead).toBe(BOTTOM_BYTES - 4 * GRANULE_BYTES);
    await disk.close();
  });

  it('reads of the bottom no more than the granule it completes', async () => {
    const bottom = bottomOf(Buffer.alloc(BOTTOM_BYTES, 0x11));
    const disk = new LayeredDisk(SIZE_BYTES, [await layer()], bottom);
    await disk.read(5000, Buffer.alloc(512));
    expect(bottom.bytesRead).toBe(512);
    await disk.write(5000, Buffer.alloc(512, 1));
    expect(bottom.bytesRead).toBe(512 + GRANULE_BYTES);
    await disk.write(2 * GRANULE_BYTES, Buffer.alloc(GRANULE_BYTES, 1));
    expect(bottom.bytesRead).toBe(512 + GRANULE_BYTES);
    await disk.close();
  });

  it('refuses writes outside the disk', async () => {
    const disk = new LayeredDisk(SIZE_BYTES, [await layer()], undefined);
    expect(() => disk.write(SIZE_BYTES - 10, Buffer.alloc(11))).toThrow(RangeError);
    await disk.close();
  });
});
