import { temporaryDirectory } from '@ims/testing';
import fc from 'fast-check';
import { GRANULE_BYTES, LayerFile } from './layer-file';
import { type BottomDisk, LayeredDisk } from './layered-disk';

const SIZE_BYTES = 10 * GRANULE_BYTES;
const BOTTOM_BYTES = 6 * GRANULE_BYTES + 1000;

function bottomOf(bytes: Buffer): BottomDisk & { bytesRead: number } {
  const bottom = {
    sizeBytes: bytes.length,
    bytesRead: 0,
    read: (offset: number, target: Uint8Array): Promise<void> => {
      if (offset + target.length > bytes.length) return Promise.reject(new RangeError('past the end of the bottom'));
      target.set(bytes.subarray(offset, offset + target.length));
      bottom.bytesRead += target.length;
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
  };
  return bottom;
}

let directory: string;
let count = 0;
const layer = (granuleBytes = GRANULE_BYTES): Promise<LayerFile> =>
  LayerFile.create(directory, { id: `layer-${(count += 1)}`, sizeBytes: SIZE_BYTES, granuleBytes });

async function wholeOf(disk: LayeredDisk): Promise<Buffer> {
  const bytes = Buffer.alloc(disk.sizeBytes, 0xee);
  await disk.read(0, bytes);
  return bytes;
}

beforeAll(async () => {
  directory = await temporaryDirectory();
});

describe(LayeredDisk.name, () => {
  const range = fc.record({ offset: fc.nat(SIZE_BYTES - 1), length: fc.nat(3 * GRANULE_BYTES), fill: fc.nat(255) });
  const step = fc.oneof(
    { weight: 5, arbitrary: range.map((value) => ({ kind: 'write', ...value }) as const) },
    { weight: 2, arbitrary: range.map((value) => ({ kind: 'zero', ...value }) as const) },
    { weight: 1, arbitrary: fc.constant({ kind: 'push' } as const) },
    { weight: 1, arbitrary: fc.constant({ kind: 'copy-up' } as const) },
    { weight: 1, arbitrary: fc.constant({ kind: 'reopen' } as const) },
  );

  it('reads as one plain disk through any writes, snapshots, copies and reopenings, and frozen layers never change', async () => {
    await fc.assert(
      fc.asyncProperty(fc.boolean(), fc.array(step, { maxLength: 20 }), async (hasBottom, steps) => {
        const model = Buffer.alloc(SIZE_BYTES);
        const content = Buffer.alloc(BOTTOM_BYTES, 0x42);
        if (hasBottom) content.copy(model);
        let bottom: BottomDisk | undefined = hasBottom ? bottomOf(content) : undefined;
        let files: [LayerFile, ...LayerFile[]] = [await layer()];
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
              const top = await layer();
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
            case 'reopen': {
              await disk.flush();
              await disk.close();
              const geometries = files.map(({ geometry }) => geometry);
              const [top, ...below] = await Promise.all(
                geometries.map((geometry) => LayerFile.open(directory, geometry, 'r+')),
              );
              if (top === undefined) throw new Error('no layer');
              files = [top, ...below];
              disk = new LayeredDisk(SIZE_BYTES, files, bottom);
              break;
            }
          }
        }
        expect((await wholeOf(disk)).equals(model)).toBe(true);
        const [, second, ...rest] = files;
        if (frozen !== undefined && second !== undefined)
          expect((await wholeOf(new LayeredDisk(SIZE_BYTES, [second, ...rest], bottom))).equals(frozen)).toBe(true);
        let at = 0;
        for (const run of disk.status(0, SIZE_BYTES)) {
          if (!run.isData) expect(model.subarray(at, at + run.length).every((byte) => byte === 0)).toBe(true);
          at += run.length;
        }
        expect(at).toBe(SIZE_BYTES);
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
