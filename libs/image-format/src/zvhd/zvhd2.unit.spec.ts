import { createHash, randomBytes } from 'node:crypto';
import { constants, deflateSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { assembleZvhd2, inspectZvhd2, openZvhd2, writeZvhd2, zvhd2Identity, zvhd2Layout } from '.';
import { blockLength } from './data-block';
import { collect, listExtents, MemoryDisk, MemorySource, readDisk, sample } from './memory-disk.spec';
import { chsGeometry, pageChecksum, sealPage } from './stream-page';
import { zstdFrames } from './zstd-frames';

const MIB = 1024 * 1024;
const BLOCK = 2 * MIB;
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const SAMPLES = [
  {
    name: 'a.zvhd2',
    size: 12 * MIB,
    blocks: [0, 3, 5],
    digest: 'bdcc80093219dde44a9b04af9ab66b17b5a72b5684f15c048b9cfa0abe2418ab',
  },
  {
    name: 'zero.zvhd2',
    size: 6 * MIB,
    blocks: [],
    digest: 'b69dae56a14d1a8314ed40664c4033ea0a550eea2673e04df42a66ac6b9faf2c',
  },
  {
    name: 'odd.zvhd2',
    size: 4 * MIB + 1536,
    blocks: [0, 2],
    digest: 'e5f4d88a3cc1d349224dec9f9386f956e4f28ad41794164052aa4c3e44c79b17',
  },
];

const identityOf = (file: Buffer) => ({ headerTime: file.readUInt32LE(24), uuid: Buffer.from(file.subarray(68, 84)) });

describe(openZvhd2.name, () => {
  it.each(SAMPLES)(
    'reads $name, which the vendor wrote, to the given digest',
    async ({ name, size, blocks, digest }) => {
      const source = new MemorySource(sample(name));
      expect(await inspectZvhd2(source)).toEqual({ format: 'zvhd2', virtualSizeBytes: size });
      const disk = await openZvhd2(source);
      expect(sha256(await readDisk(disk))).toBe(digest);
      expect(sha256(await readDisk(disk, 1_000_003))).toBe(digest);
      expect((await listExtents(disk)).reduce((sum, { length }) => sum + length, 0)).toBe(
        blocks.reduce((sum, block) => sum + Math.min(BLOCK, size - block * BLOCK), 0),
      );
    },
  );

  it('fills with zeros what lies past the end of the disk', async () => {
    const disk = await openZvhd2(new MemorySource(sample('odd.zvhd2')));
    const target = Buffer.alloc(4096, 0xee);
    await disk.read(4 * MIB, target);
    expect(target.subarray(1536).equals(Buffer.alloc(4096 - 1536))).toBe(true);
    expect(target.subarray(0, 1536).equals(Buffer.alloc(1536))).toBe(false);
  });

  it('finds blocks in any order and reads only those', async () => {
    const source = new MemorySource(sample('a.zvhd2'));
    const disk = await openZvhd2(source);
    const before = source.bytesRead;
    await disk.read(5 * BLOCK, Buffer.alloc(16));
    await disk.read(1 * BLOCK, Buffer.alloc(16));
    await disk.read(0, Buffer.alloc(16));
    await disk.read(5 * BLOCK + 100, Buffer.alloc(16));
    expect(source.bytesRead - before).toBe(2 * 4096);
  });

  it('reads zlib blocks and an index that contains zero blocks', async () => {
    const bytes = Buffer.concat([randomBytes(1000), Buffer.alloc(3 * BLOCK - 1000), randomBytes(BLOCK)]);
    const payloads = new Map(
      [0, 3].map((index) => [index, syncDeflated(bytes.subarray(index * BLOCK, (index + 1) * BLOCK))]),
    );
    const file = await assembled(bytes.length, payloads);
    const footer = file.subarray(-4096);
    footer.writeUInt8(1, 140);
    footer.writeUInt8(0, 141);
    const index = file.subarray(Number(footer.readBigUInt64LE(96)));
    index.copyWithin(3 * 16, 16, 32);
    index.fill(0, 16, 48);
    sealPage(footer);
    expect((await readDisk(await openZvhd2(new MemorySource(file)))).equals(bytes)).toBe(true);
  });
});

describe(writeZvhd2.name, () => {
  it.each(SAMPLES)(
    'writes the disk of $name again with every determined byte as the vendor wrote it',
    async ({ name }) => {
      const original = sample(name);
      const disk = await openZvhd2(new MemorySource(original));
      const file = await collect(writeZvhd2(disk, identityOf(original)));
      expect(file.length).toBe(original.length);
      const count = original.readUInt32LE(original.length - 4096 + 136);
      const dataEnd = 4096 + count * 4096;
      expect(file.subarray(0, 512).equals(original.subarray(0, 512))).toBe(true);
      // What follows the first sector of a page is left uninitialised by the vendor, so sectors are compared, not pages.
      expect(file.subarray(dataEnd, dataEnd + 512).equals(original.subarray(dataEnd, dataEnd + 512))).toBe(true);
      const tail = (bytes: Buffer) => bytes.subarray(dataEnd + 4096, bytes.length - 4096 + 512);
      expect(tail(file).equals(tail(original))).toBe(true);
      for (let k = 0; k < count; k++) {
        const at = 4096 * (k + 1);
        // Compressors of different versions may differ in the payload's length, never in the rest of the head and the tail.
        expect(file.subarray(at, at + 12).equals(original.subarray(at, at + 12))).toBe(true);
        expect(file.subarray(at + 16, at + 48).equals(original.subarray(at + 16, at + 48))).toBe(true);
        expect(file.subarray(at + 4092, at + 4096).toString('latin1')).toBe('end\0');
      }
      expect((await readDisk(await openZvhd2(new MemorySource(file)))).equals(await readDisk(disk))).toBe(true);
    },
  );

  it('leaves out blocks of zeros and writes the same bytes for the same disk and identity', async () => {
    const bytes = Buffer.concat([Buffer.alloc(BLOCK), randomBytes(BLOCK), Buffer.alloc(BLOCK), randomBytes(512)]);
    const identity = zvhd2Identity('ab'.repeat(32));
    const file = await collect(writeZvhd2(new MemoryDisk(bytes), identity));
    const again = await collect(writeZvhd2(new MemoryDisk(bytes), identity));
    expect(again.equals(file)).toBe(true);
    const disk = await openZvhd2(new MemorySource(file));
    expect(await listExtents(disk)).toEqual([
      { offset: BLOCK, length: BLOCK },
      { offset: 3 * BLOCK, length: 512 },
    ]);
    expect((await readDisk(disk)).equals(bytes)).toBe(true);
  });
});

describe(zvhd2Identity.name, () => {
  it('is the same for the same manifest, differs between manifests, and never lies in the future', () => {
    const one = zvhd2Identity('1'.repeat(64));
    expect(zvhd2Identity('1'.repeat(64))).toEqual(one);
    expect(zvhd2Identity('2'.repeat(64)).uuid.equals(one.uuid)).toBe(false);
    expect(one.uuid.length).toBe(16);
    expect(one.headerTime).toBeLessThan((Date.UTC(2020, 0) - Date.UTC(2000, 0)) / 1000);
  });
});

describe(zvhd2Layout.name, () => {
  const identity = zvhd2Identity('cd'.repeat(32));

  it('lays out a dense disk of 1 TiB from an iterator, and serves its parts without reading a payload', async () => {
    function* dense() {
      for (let index = 0; index < 524_288; index++) yield { index, storedBytes: 700_000 + (index % 7) };
    }
    const layout = zvhd2Layout({ virtualSizeBytes: 1024 ** 4, segments: dense(), ...identity });
    expect(layout.blockCount).toBe(524_288);
    expect(layout.indexBytes).toBe(16 * 524_288);
    expect(layout.bitmapBytes).toBe(16 * 4096);
    let position = 4096;
    for (let index = 0; index < 524_288; index++) position += blockLength(700_000 + (index % 7));
    expect(layout.middleOffset).toBe(position);
    const neverRead = (index: number): Promise<Uint8Array> => Promise.reject(new Error(`segment ${index} was read`));
    const rest = await collect(
      assembleZvhd2(layout, neverRead, { offset: layout.middleOffset, length: layout.sizeBytes - layout.middleOffset }),
    );
    expect(rest.length).toBe(layout.sizeBytes - layout.middleOffset);
    // Last index entry: block number and place of the last block.
    const last = rest.subarray(4096 + 524_287 * 16);
    expect(last.readUInt32LE(8)).toBe(524_287);
    expect(Number(last.readBigUInt64LE(0))).toBe(layout.blockOffsets[524_287]);
    const head = await collect(
      assembleZvhd2(layout, neverRead, { offset: layout.blockOffsets[400_000] ?? 0, length: 48 }),
    );
    expect(head.readUInt32LE(16)).toBe(400_000);
  });

  it.each([
    [
      'an index that does not rise',
      [
        { index: 1, storedBytes: 5 },
        { index: 1, storedBytes: 5 },
      ],
    ],
    ['an index past the end', [{ index: 6, storedBytes: 5 }]],
    ['an empty payload', [{ index: 0, storedBytes: 0 }]],
    ['a payload that readers refuse', [{ index: 0, storedBytes: 4 * MIB }]],
  ])('refuses %s', (_, segments) => {
    expect(() => zvhd2Layout({ virtualSizeBytes: 12 * MIB, segments, ...identity })).toThrow(RangeError);
  });

  it.each([0, 511, 1024 ** 4 + 512])('refuses a disk of %d bytes', (virtualSizeBytes) => {
    expect(() => zvhd2Layout({ virtualSizeBytes, segments: [], ...identity })).toThrow(RangeError);
  });
});

describe(assembleZvhd2.name, () => {
  it('joins stored frames of 256 KiB into a file that reads back as the disk (design 4)', async () => {
    const bytes = randomBytes(3 * BLOCK);
    bytes.fill(0, BLOCK, 2 * BLOCK);
    bytes.fill(7, 100_000, 1_500_000);
    const payloads = new Map(
      [0, 2].map((index) => [index, framed(bytes.subarray(index * BLOCK, (index + 1) * BLOCK))]),
    );
    const file = await assembled(bytes.length, payloads);
    expect((await readDisk(await openZvhd2(new MemorySource(file)))).equals(bytes)).toBe(true);
  });

  it('gives any range exactly, from whole payloads and from pieces', async () => {
    const payloads = new Map([
      [0, Buffer.from('x'.repeat(9000))],
      [4, Buffer.from('y')],
      [5, Buffer.from('z'.repeat(4044))],
      [9, Buffer.from('w'.repeat(4045))],
    ]);
    const layout = zvhd2Layout({
      virtualSizeBytes: 20 * MIB,
      segments: [...payloads].map(([index, payload]) => ({ index, storedBytes: payload.length })),
      ...zvhd2Identity('ef'.repeat(32)),
    });
    const whole = await collect(assembleZvhd2(layout, async (index) => payloads.get(index) ?? Buffer.alloc(0)));
    expect(whole.length).toBe(layout.sizeBytes);
    // Ranges near the edges of parts are where mistakes live.
    const edges = [
      0,
      4096,
      ...layout.blockOffsets,
      layout.indexOffset,
      layout.bitmapOffset,
      layout.footerOffset,
      layout.sizeBytes,
    ];
    const point = fc
      .tuple(fc.constantFrom(...edges), fc.integer({ min: -60, max: 60 }))
      .map(([edge, shift]) => Math.max(0, edge + shift));
    await fc.assert(
      fc.asyncProperty(point, point, fc.integer({ min: 1, max: 5000 }), async (a, b, pieceBytes) => {
        const [offset, end] = [Math.min(a, b), Math.max(a, b)];
        async function* inPieces(index: number) {
          const payload = payloads.get(index) ?? Buffer.alloc(0);
          for (let at = 0; at < payload.length; at += pieceBytes) yield payload.subarray(at, at + pieceBytes);
        }
        const part = await collect(assembleZvhd2(layout, inPieces, { offset, length: end - offset }));
        expect(part.equals(whole.subarray(offset, end))).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('reads only payloads that lie in the range, and closes an iterator it has no more use for', async () => {
    const layout = zvhd2Layout({
      virtualSizeBytes: 20 * MIB,
      segments: [0, 1, 2].map((index) => ({ index, storedBytes: 10_000 })),
      ...zvhd2Identity('aa'.repeat(32)),
    });
    const read: number[] = [];
    const closed: number[] = [];
    async function* payload(index: number) {
      read.push(index);
      try {
        for (let k = 0; k < 10; k++) yield Buffer.alloc(1000, index);
      } finally {
        closed.push(index);
      }
    }
    const offset = (layout.blockOffsets[1] ?? 0) + 48 + 2500;
    const part = await collect(assembleZvhd2(layout, payload, { offset, length: 1000 }));
    expect(part.equals(Buffer.alloc(1000, 1))).toBe(true);
    expect([read, closed]).toEqual([[1], [1]]);
  });

  it.each([99, 101])('fails when a payload of 100 bytes turns out to have %d', async (length) => {
    const layout = zvhd2Layout({
      virtualSizeBytes: BLOCK,
      segments: [{ index: 0, storedBytes: 100 }],
      ...zvhd2Identity('bb'.repeat(32)),
    });
    await expect(collect(assembleZvhd2(layout, async () => Buffer.alloc(length)))).rejects.toThrow('segment 0');
  });
});

describe('a hostile or damaged ZVHD2 file is refused with IMG.0057', () => {
  const data = Buffer.concat([randomBytes(BLOCK), Buffer.alloc(BLOCK), randomBytes(BLOCK)]);
  let good: Buffer;
  beforeAll(async () => {
    good = await collect(writeZvhd2(new MemoryDisk(data), zvhd2Identity('dd'.repeat(32))));
  });

  const patched = (change: (file: Buffer, footer: Buffer, index: Buffer, bitmap: Buffer) => void): Buffer => {
    const file = Buffer.from(good);
    const footer = file.subarray(-4096);
    const at = (field: number): Buffer => file.subarray(Number(footer.readBigUInt64LE(field)));
    change(file, footer, at(96), at(104));
    sealPage(footer);
    return file;
  };

  it.each<[string, string, () => Buffer]>([
    ['empty', 'file of 0 bytes', () => Buffer.alloc(0)],
    ['cut', 'no cookie', () => good.subarray(0, good.length - 4096)],
    ['cut to a part of a page', 'bytes', () => good.subarray(0, good.length - 100)],
    ['bytes after the footer', 'no cookie', () => Buffer.concat([good, Buffer.alloc(4096)])],
    ['header with a bad checksum', 'header has a bad checksum', () => patched((file) => file.writeUInt8(9, 300))],
    ['footer with a bad checksum', 'footer has a bad checksum', () => badFooter(good)],
    ['another disk in the header', 'belong together', () => patched((file) => otherUuid(file))],
    ['size 0', 'size 0', () => patched((_, footer) => footer.writeBigUInt64LE(0n, 40))],
    ['size 2^60', 'over the limit', () => patched((_, footer) => footer.writeBigUInt64LE(1n << 60n, 40))],
    [
      'size of half a sector',
      'sectors',
      () => patched((_, footer) => footer.writeBigUInt64LE(BigInt(3 * BLOCK + 1), 40)),
    ],
    ['presented size below the size', 'presented', () => patched((_, footer) => footer.writeBigUInt64LE(512n, 48))],
    ['format version 2', 'version', () => patched((_, footer) => footer.writeUInt8(2, 87))],
    ['block size 1 MiB', 'block size', () => patched((_, footer) => footer.writeUInt32LE(MIB, 88))],
    ['too many blocks', 'blocks for', () => patched((_, footer) => footer.writeUInt32LE(4, 92))],
    ['more stored than there are', 'stored', () => patched((_, footer) => footer.writeUInt32LE(4, 136))],
    ['stored count above the bitmap', 'bitmap marks', () => patched((_, footer) => footer.writeUInt32LE(3, 136))],
    ['stored count below the bitmap', 'bitmap marks', () => patched((_, footer) => footer.writeUInt32LE(1, 136))],
    ['unknown compression', 'compression', () => patched((_, footer) => footer.writeUInt8(2, 141))],
    ['unknown index kind', 'index kind', () => patched((_, footer) => footer.writeUInt8(2, 140))],
    ['index offset 2^50', 'index at', () => patched((_, footer) => footer.writeBigUInt64LE(1n << 50n, 96))],
    ['bitmap offset 2^63', 'bitmap at', () => patched((_, footer) => footer.writeBigUInt64LE(1n << 63n, 104))],
    ['index length 4 GiB', 'index length', () => patched((_, footer) => footer.writeUInt32LE(0xffffffff, 112))],
    ['2^32-1 index segments', 'index segments', () => patched((_, footer) => footer.writeUInt32LE(0xffffffff, 128))],
    ['index segment of 0', 'index segment', () => patched((_, footer) => footer.writeUInt32LE(0, 120))],
    ['entry offset 2^50', 'outside the data', () => patched((_, __, index) => index.writeBigUInt64LE(1n << 50n, 0))],
    ['entry in the header', 'outside the data', () => patched((_, __, index) => index.writeBigUInt64LE(0n, 0))],
    ['entry at the middle page', 'outside the data', () => patched((_, __, index) => toMiddle(good, index))],
    ['entry of another block', 'of block 1', () => patched((_, __, index) => index.writeUInt32LE(1, 8))],
    ['entry length 0', '0 bytes long', () => patched((_, __, index) => index.writeUInt32LE(0, 12))],
    ['entry length of no pages', 'bytes long', () => patched((_, __, index) => index.writeUInt32LE(4097, 12))],
    ['entry length 4 GiB', 'bytes long', () => patched((_, __, index) => index.writeUInt32LE(0xfffff000, 12))],
    ['overlapping entries', 'overlap', () => patched((_, __, index) => index.copyWithin(16, 0, 8))],
    ['bit past the last block', 'bitmap marks', () => patched((_, __, ___, bits) => bits.writeUInt8(0b1001, 0))],
  ])('%s', async (_, reason, make) => {
    const source = new MemorySource(make());
    await expect(inspectZvhd2(source)).rejects.toMatchObject({
      code: 'IMG.0057',
      message: expect.stringContaining(reason),
    });
    expect(source.largestRead).toBeLessThanOrEqual(524_288);
  });

  it.each<[string, string, () => Buffer]>([
    ['a block without its magic', 'not a data block', () => patched((file) => file.writeUInt8(0, 4096))],
    ['a block with another number', 'calls itself', () => patched((file) => file.writeUInt32LE(7, 4096 + 16))],
    ['a payload of 0 bytes', 'payload of 0', () => patched((file) => file.writeUInt32LE(0, 4096 + 12))],
    ['a payload of 4 GiB', 'payload of', () => patched((file) => file.writeUInt32LE(0xffffffff, 4096 + 12))],
    ['a payload shorter than its block', 'in', () => patched((file) => file.writeUInt32LE(100, 4096 + 12))],
    ['a block without its tail', 'no end mark', () => patched((file, _, index) => noTail(file, index))],
    ['a payload that is damaged', 'zstd frame', () => patched((file) => file.writeUInt8(0, 4096 + 48))],
  ])('%s', async (_, reason, make) => {
    const disk = await openZvhd2(new MemorySource(make()));
    await expect(disk.read(0, Buffer.alloc(512))).rejects.toMatchObject({
      code: 'IMG.0057',
      message: expect.stringContaining(reason),
    });
  });

  const params = (windowLog: number) => ({ params: { [constants.ZSTD_c_windowLog]: windowLog } });
  it.each<[string, string, () => Buffer]>([
    ['a bomb whose frame says 64 MiB', 'more than 2 MiB', () => zstdCompressSync(Buffer.alloc(64 * MIB))],
    [
      'a bomb of 32 frames of 2 MiB',
      'more than 2 MiB',
      () => Buffer.concat(Array(32).fill(zstdCompressSync(Buffer.alloc(BLOCK)))),
    ],
    ['a bomb that does not say its size', 'more than 2 MiB', () => withoutContentSize(3 * MIB)],
    ['a window of 128 MiB', 'window', () => windowOf(128 * MIB, zstdCompressSync(Buffer.alloc(600), params(10)))],
    ['a short block', 'instead of 2 MiB', () => zstdCompressSync(Buffer.alloc(BLOCK - 1))],
    ['bytes after the frame', 'magic', () => Buffer.concat([zstdCompressSync(Buffer.alloc(BLOCK)), Buffer.alloc(9)])],
    ['a frame that is cut', 'cut short', () => zstdCompressSync(randomBytes(BLOCK)).subarray(0, BLOCK - 5)],
    ['a frame with a dictionary', 'dictionary', () => withDescriptorBit(zstdCompressSync(Buffer.alloc(BLOCK)), 1)],
  ])('%s', async (_, reason, payload) => {
    const file = await assembled(BLOCK, new Map([[0, payload()]]));
    const disk = await openZvhd2(new MemorySource(file));
    await expect(disk.read(0, Buffer.alloc(512))).rejects.toMatchObject({
      code: 'IMG.0057',
      message: expect.stringContaining(reason),
    });
  });

  it.each([
    ['a bomb', 'more than 2 MiB', syncDeflated(Buffer.alloc(64 * MIB))],
    ['a short block', 'instead of 2 MiB', syncDeflated(Buffer.alloc(BLOCK - 1))],
    ['no zlib data', 'unpacked', Buffer.from('nothing')],
  ])('zlib: %s', async (_, reason, payload) => {
    const file = await assembled(BLOCK, new Map([[0, payload]]));
    const footer = file.subarray(-4096);
    footer.writeUInt8(0, 141);
    sealPage(footer);
    const disk = await openZvhd2(new MemorySource(file));
    await expect(disk.read(0, Buffer.alloc(512))).rejects.toMatchObject({
      code: 'IMG.0057',
      message: expect.stringContaining(reason),
    });
  });

  it('whatever bytes of the pages, index and bitmap are changed: refused or read, never another error', async () => {
    const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }), fc.boolean());
    const metadata = [
      0,
      300,
      good.length - 4096,
      good.length - 4096 + 300,
      good.length - 8192,
      good.length - 4096 - 4096 - 524_288,
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...metadata),
        fc.array(change, { minLength: 1, maxLength: 4 }),
        async (base, changes) => {
          const file = Buffer.from(good);
          for (const [shift, value] of changes) file.writeUInt8(value, base + (shift % 300));
          if (changes.some(([, , seal]) => seal)) {
            sealPage(file.subarray(0, 4096));
            sealPage(file.subarray(-4096));
          }
          try {
            await readDisk(await openZvhd2(new MemorySource(file)));
          } catch (error) {
            expect(error).toMatchObject({ code: 'IMG.0057' });
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe(zstdFrames.name, () => {
  it('finds the same frames that were joined, whatever their content', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 3000 }), { minLength: 1, maxLength: 8 }), (contents) => {
        const frames = contents.map((content) =>
          zstdCompressSync(content, { params: { [constants.ZSTD_c_checksumFlag]: content.length % 2 } }),
        );
        expect(zstdFrames(Buffer.concat(frames), 'test').map(({ length }) => length)).toEqual(
          frames.map((frame) => frame.length),
        );
      }),
    );
  });
});

describe(chsGeometry.name, () => {
  it('is what the vendor wrote for 12 MiB and what the specification gives for large disks', () => {
    expect(chsGeometry(12 * MIB)).toBe(0x01690411);
    expect(chsGeometry(1024 ** 4)).toBe(65535 * 0x10000 + 16 * 0x100 + 255);
  });
});

/** A ZVHD2 file around given payloads. */
async function assembled(virtualSizeBytes: number, payloads: Map<number, Buffer>): Promise<Buffer> {
  const layout = zvhd2Layout({
    virtualSizeBytes,
    segments: [...payloads].map(([index, payload]) => ({ index, storedBytes: payload.length })),
    ...zvhd2Identity('cc'.repeat(32)),
  });
  return collect(assembleZvhd2(layout, async (index) => payloads.get(index) ?? Buffer.alloc(0)));
}

function framed(block: Buffer): Buffer {
  const frames: Buffer[] = [];
  for (let at = 0; at < block.length; at += 256 * 1024) {
    frames.push(
      zstdCompressSync(block.subarray(at, at + 256 * 1024), { params: { [constants.ZSTD_c_compressionLevel]: 1 } }),
    );
  }
  return Buffer.concat(frames);
}

/** A zlib stream ended by a sync flush: `deflateSync` with that flush neither finishes the stream nor adds an Adler checksum. */
function syncDeflated(block: Buffer): Buffer {
  return deflateSync(block, { finishFlush: constants.Z_SYNC_FLUSH });
}

const badFooter = (good: Buffer): Buffer => {
  const file = Buffer.from(good);
  const footer = file.subarray(-4096);
  footer.writeUInt32LE((pageChecksum(footer) ^ 1) >>> 0, 64);
  return file;
};

function otherUuid(file: Buffer): void {
  file.writeUInt8(file.readUInt8(68) ^ 1, 68);
  sealPage(file.subarray(0, 4096));
}

function toMiddle(good: Buffer, index: Buffer): void {
  index.writeBigUInt64LE(good.readBigUInt64LE(good.length - 4096 + 96) - 4096n, 16);
  index.writeUInt32LE(4096, 28);
}

function noTail(file: Buffer, index: Buffer): void {
  file.writeUInt8(0, Number(index.readBigUInt64LE(0)) + index.readUInt32LE(12) - 4);
}

/** RLE blocks of 128 KiB behind a header without content size: small in the file, `bytes` long when unpacked. */
function withoutContentSize(bytes: number): Buffer {
  const blocks: Buffer[] = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58])];
  for (let done = 0; done < bytes; done += 128 * 1024) {
    const block = Buffer.alloc(4);
    block.writeUIntLE((128 * 1024 * 8) | (1 << 1) | (done + 128 * 1024 >= bytes ? 1 : 0), 0, 3);
    blocks.push(block);
  }
  return Buffer.concat(blocks);
}

/** Puts a window descriptor of `bytes` (a power of two) into a frame that has a single segment. */
function windowOf(bytes: number, frame: Buffer): Buffer {
  const descriptor = (Math.log2(bytes) - 10) << 3;
  return Buffer.concat([
    frame.subarray(0, 4),
    Buffer.from([frame.readUInt8(4) & ~0x20, descriptor]),
    frame.subarray(5),
  ]);
}

function withDescriptorBit(frame: Buffer, bit: number): Buffer {
  const changed = Buffer.from(frame);
  changed.writeUInt8(changed.readUInt8(4) | bit, 4);
  return changed;
}
