import { createHash, randomBytes } from 'node:crypto';
import { constants, createDeflate } from 'node:zlib';
import fc from 'fast-check';
import { inspectZvhd, openZvhd, writeZvhd, zvhd2Identity } from '.';
import { BlockInflater } from './block-inflater';
import { encodeHead, encodeTail } from './data-block';
import { PulledStream } from './pulled-stream';
import { collect, listExtents, MemoryDisk, MemorySource, readDisk, sample } from './memory-disk.spec';
import { encodeStreamPage, sealPage } from './stream-page';

const MIB = 1024 * 1024;
const BLOCK = 2 * MIB;
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const SAMPLES = [
  {
    name: 'a.zvhd',
    size: 12 * MIB,
    digest: 'bdcc80093219dde44a9b04af9ab66b17b5a72b5684f15c048b9cfa0abe2418ab',
  },
  {
    name: 'zero.zvhd',
    size: 6 * MIB,
    digest: 'b69dae56a14d1a8314ed40664c4033ea0a550eea2673e04df42a66ac6b9faf2c',
  },
];

const identityOf = (file: Buffer) => ({ headerTime: file.readUInt32LE(24), uuid: Buffer.from(file.subarray(68, 84)) });

describe(openZvhd.name, () => {
  it.each(SAMPLES)('reads $name, which the vendor wrote, to the given digest', async ({ name, size, digest }) => {
    const source = new MemorySource(sample(name));
    expect(await inspectZvhd(source)).toEqual({ format: 'zvhd', virtualSizeBytes: size });
    const disk = await openZvhd(source);
    expect(sha256(await readDisk(disk))).toBe(digest);
    // A second pass goes back to the beginning.
    expect(sha256(await readDisk(disk, 1_000_003))).toBe(digest);
    await disk.close();
  });

  it('gives the extents of stored blocks without unpacking them', async () => {
    const disk = await openZvhd(new MemorySource(sample('a.zvhd')));
    expect(await listExtents(disk)).toEqual([
      { offset: 0, length: BLOCK },
      { offset: 3 * BLOCK, length: BLOCK },
      { offset: 5 * BLOCK, length: BLOCK },
    ]);
  });

  it('serves reads in any order and side by side, restarting where one lies behind the cursor', async () => {
    const bytes = mixedDisk();
    const disk = await openZvhd(new MemorySource(await collect(writeZvhd(new MemoryDisk(bytes), zvhd2Identity('a')))));
    const offsets = [9, 0, 7, 1, 6, 6, 2, 5, 9, 3].map((block) => block * BLOCK + 512);
    const parts = await Promise.all(
      offsets.map(async (offset) => {
        const part = Buffer.alloc(4096);
        await disk.read(offset, part);
        return part;
      }),
    );
    offsets.forEach((offset, k) => expect(parts[k]?.equals(bytes.subarray(offset, offset + 4096))).toBe(true));
  });

  it('knows a hole behind the cursor as one without restarting', async () => {
    const source = new MemorySource(await collect(writeZvhd(new MemoryDisk(mixedDisk()), zvhd2Identity('a'))));
    const disk = await openZvhd(source);
    await disk.read(9 * BLOCK, Buffer.alloc(16));
    const before = source.bytesRead;
    const hole = Buffer.alloc(16, 0xee);
    await disk.read(1 * BLOCK, hole);
    expect(hole.equals(Buffer.alloc(16))).toBe(true);
    expect(source.bytesRead).toBe(before);
  });

  it('ends a read whose caller has given up, and serves the next', async () => {
    const bytes = mixedDisk();
    const disk = await openZvhd(new MemorySource(await collect(writeZvhd(new MemoryDisk(bytes), zvhd2Identity('a')))));
    await expect(disk.read(0, Buffer.alloc(16), AbortSignal.abort(new Error('given up')))).rejects.toThrow('given up');
    const part = Buffer.alloc(16);
    await disk.read(2 * BLOCK, part);
    expect(part.equals(bytes.subarray(2 * BLOCK, 2 * BLOCK + 16))).toBe(true);
  });
});

describe(writeZvhd.name, () => {
  it.each(SAMPLES)(
    'writes the disk of $name again with every determined byte as the vendor wrote it',
    async ({ name }) => {
      const original = sample(name);
      const disk = await openZvhd(new MemorySource(original));
      const file = await collect(writeZvhd(disk, identityOf(original)));
      expect(file.length).toBe(original.length);
      expect(file.subarray(0, 512).equals(original.subarray(0, 512))).toBe(true);
      expect(file.subarray(-4096, -4096 + 512).equals(original.subarray(-4096, -4096 + 512))).toBe(true);
      expect(file.subarray(-4096).equals(file.subarray(0, 4096))).toBe(true);
      expect((await readDisk(await openZvhd(new MemorySource(file)))).equals(await readDisk(disk))).toBe(true);
    },
  );

  it('writes any disk so that it reads back, blocks of zeros left out', async () => {
    const block = fc.constantFrom('zero', 'noise', 'text', 'edge');
    await fc.assert(
      fc.asyncProperty(
        fc.array(block, { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 0, max: 4095 }),
        async (blocks, cut) => {
          const parts = blocks.map((kind) => {
            if (kind === 'noise') return randomBytes(BLOCK);
            if (kind === 'text') return Buffer.alloc(BLOCK, `${kind} and more of it. `);
            const zeros = Buffer.alloc(BLOCK);
            if (kind === 'edge') zeros.writeUInt8(1, BLOCK - 1);
            return zeros;
          });
          const bytes = Buffer.concat(parts).subarray(0, blocks.length * BLOCK - cut * 512);
          const file = await collect(writeZvhd(new MemoryDisk(bytes), zvhd2Identity('b')));
          const disk = await openZvhd(new MemorySource(file));
          expect((await readDisk(disk)).equals(bytes)).toBe(true);
        },
      ),
      { numRuns: 15 },
    );
  });
});

describe('a hostile or damaged ZVHD file is refused with IMG.0057', () => {
  const bytes = Buffer.concat([randomBytes(BLOCK), Buffer.alloc(BLOCK), randomBytes(BLOCK)]);
  let good: Buffer;
  let second: number;
  beforeAll(async () => {
    good = await collect(writeZvhd(new MemoryDisk(bytes), zvhd2Identity('c')));
    second = good.indexOf('hwstream bg', 4096 + 48);
  });

  const patched = (change: (file: Buffer) => void, seal = false): Buffer => {
    const file = Buffer.from(good);
    change(file);
    if (seal) sealPage(file.subarray(0, 4096));
    return file;
  };

  it.each<[string, string, () => Buffer]>([
    ['empty', 'file of 0 bytes', () => Buffer.alloc(0)],
    ['no cookie', 'no cookie', () => patched((file) => file.writeUInt8(0, 0))],
    ['bad checksum', 'bad checksum', () => patched((file) => file.writeUInt8(7, 300))],
    ['size 0', 'size 0', () => patched((file) => file.writeBigUInt64LE(0n, 40), true)],
    ['size 2^60', 'over the limit', () => patched((file) => file.writeBigUInt64LE(1n << 60n, 40), true)],
    ['presented size 2^60', 'presented', () => patched((file) => file.writeBigUInt64LE(1n << 60n, 48), true)],
    ['another disk type', 'disk type', () => patched((file) => file.writeUInt32LE(3, 60), true)],
    ['unknown creator version', 'creator version', () => patched((file) => file.writeUInt32LE(5, 32), true)],
    ['no end page', 'before its end page', () => good.subarray(0, good.length - 4096)],
    ['cut inside a block', 'cut short', () => good.subarray(0, second + 8192)],
    ['cut inside the end page', 'before its end page', () => good.subarray(0, good.length - 1)],
    ['repeated block number', 'follows', () => patched((file) => file.writeUInt32LE(0, second + 16))],
    ['block past the end', 'past the end', () => patched((file) => file.writeUInt32LE(3, second + 16))],
    ['payload of 0 bytes', 'payload of 0', () => patched((file) => file.writeUInt32LE(0, second + 12))],
    ['payload of 4 MiB', 'payload of', () => patched((file) => file.writeUInt32LE(4 * MIB, second + 12))],
    ['payload longer than its block', 'no end mark', () => patched((file) => file.writeUInt32LE(10_000, 4096 + 12))],
    ['missing tail', 'no end mark', () => patched((file) => file.writeUInt8(0, second - 4))],
  ])('%s', async (_, reason, make) => {
    const refusal = { code: 'IMG.0057', message: expect.stringContaining(reason) };
    await expect(inspectZvhd(new MemorySource(make()))).rejects.toMatchObject(refusal);
    const walkAll = async () => listExtents(await openZvhd(new MemorySource(make())));
    await expect(walkAll()).rejects.toMatchObject({ code: 'IMG.0057' });
  });

  it('accepts the old creator version', async () => {
    const old = patched((file) => file.writeUInt32LE(0x00010003, 32), true);
    expect((await readDisk(await openZvhd(new MemorySource(old)))).equals(bytes)).toBe(true);
  });

  it.each<[string, string, () => Promise<Buffer>]>([
    ['a bomb of 64 MiB in one payload', 'more than 2 MiB', () => syncDeflated(Buffer.alloc(64 * MIB))],
    ['one byte too much', 'more than 2 MiB', () => syncDeflated(Buffer.alloc(BLOCK + 1))],
    ['one byte too few', 'instead of 2 MiB', () => syncDeflated(Buffer.alloc(BLOCK - 1))],
    ['no zlib data', 'damaged', async () => Buffer.from('nothing')],
    ['damage in the middle', 'damaged', async () => (await syncDeflated(randomBytes(BLOCK))).fill(0xff, 5, 100)],
    ['a stream that was finished too early', 'instead of 2 MiB', () => finished(Buffer.alloc(1000))],
  ])('%s', async (_, reason, payload) => {
    const disk = await openZvhd(new MemorySource(fileAround([await payload()])));
    await expect(disk.read(0, Buffer.alloc(512))).rejects.toMatchObject({
      code: 'IMG.0057',
      message: expect.stringContaining(reason),
    });
  });

  it('a stream that was finished and goes on after its end', async () => {
    const file = fileAround([await finished(Buffer.alloc(BLOCK)), await syncDeflated(Buffer.alloc(BLOCK))]);
    const disk = await openZvhd(new MemorySource(file));
    await disk.read(0, Buffer.alloc(512));
    await expect(disk.read(BLOCK, Buffer.alloc(512))).rejects.toMatchObject({ code: 'IMG.0057' });
  });

  it('stops unpacking a bomb soon after 2 MiB', async () => {
    const bomb = await syncDeflated(Buffer.alloc(512 * MIB));
    const inflater = new BlockInflater();
    await expect(inflater.unpack(bomb, 'block 0')).rejects.toThrow('more than 2 MiB');
    // 512 MiB of zeros are some 512 KiB; only the part for the first few MiB may have been taken in.
    expect(inflater.bytesTaken).toBeLessThan(bomb.length / 50);
    inflater.close();
  });
});

function mixedDisk(): Buffer {
  const disk = Buffer.alloc(10 * BLOCK);
  for (const block of [0, 2, 3, 5, 6, 7, 9]) randomBytes(BLOCK).copy(disk, block * BLOCK);
  return disk;
}

async function syncDeflated(bytes: Buffer): Promise<Buffer> {
  const deflate = createDeflate();
  const pulled = new PulledStream(deflate);
  const payload = await collect(
    pulled.output((done) => {
      deflate.write(bytes);
      deflate.flush(constants.Z_SYNC_FLUSH, done);
    }),
  );
  pulled.close();
  return payload;
}

async function finished(bytes: Buffer): Promise<Buffer> {
  const deflate = createDeflate();
  deflate.end(bytes);
  return collect(deflate);
}

/** A ZVHD file with correct pages around given payloads, one per block. */
function fileAround(payloads: Buffer[]): Buffer {
  const size = Math.max(1, payloads.length) * BLOCK;
  const page = sealPage(
    encodeStreamPage({
      kind: 'zvhd',
      originalSizeBytes: size,
      currentSizeBytes: 1024 * MIB,
      seconds: 1,
      uuid: Buffer.alloc(16, 1),
    }),
  );
  const blocks = payloads.flatMap((payload, number) => [
    encodeHead(number, payload.length),
    payload,
    encodeTail(payload.length),
  ]);
  return Buffer.concat([page, ...blocks, page]);
}
