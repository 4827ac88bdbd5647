import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { mayMount, mountSmallDisk, temporaryDirectory, unmountSmallDisk } from '@ims/testing';
import { StoredBytesDamagedError } from '../errors';
import { compressSegment } from '../layout/frame';
import { CHECKSUM_BLOCK_BYTES, PACK_HEADER_BYTES } from '../layout/pack-format';
import { HASH_BYTES, hashLeaves, LEAVES_PER_SEGMENT, SEGMENT_BYTES } from '../layout/segment';
import { segmentBytes } from '../spec-support/store-fixture';
import type { AzStore } from './az-store.port';
import { openAz } from './directory-az';
import { BlockBuffer, PackReader } from './pack-reader';
import { PACK_LIMIT_BYTES, PackWriter } from './pack-writer';

// Space is given out by the page.
const PAGE_BYTES = 4096;

let az: AzStore;
let path: string;
beforeEach(async () => {
  path = join(await temporaryDirectory(), 'az1');
  await mkdir(path);
  az = openAz({ driver: 'directory', name: 'az1', path });
  await az.initialize(randomUUID());
});

async function writePack(seeds: readonly number[]): Promise<{ packId: string; frames: Buffer[]; keys: Buffer[] }> {
  const packId = randomUUID();
  const writer = await PackWriter.create(az, packId, randomUUID());
  const leaves = Buffer.alloc(LEAVES_PER_SEGMENT * HASH_BYTES);
  const frames: Buffer[] = [];
  const keys: Buffer[] = [];
  for (const seed of seeds) {
    const segment = segmentBytes(seed);
    hashLeaves(segment, leaves);
    const key = randomBytes(32);
    const compressed = compressSegment(segment);
    await writer.addSegment(key, leaves, compressed);
    frames.push(Buffer.concat(compressed));
    keys.push(key);
  }
  await writer.seal();
  return { packId, frames, keys };
}

describe(PackWriter.name, () => {
  it('writes what the reader gives back, in any order, with every block checked', async () => {
    const { packId, frames, keys } = await writePack([1, 2, 3, 4]);
    const pack = await PackReader.open(az, packId);
    if (pack === undefined) throw new Error('no pack');
    const buffer = new BlockBuffer();
    for (const at of [0, 1, 2, 3, 1, 0, 3]) {
      const segment = pack.find(keys[at] ?? Buffer.alloc(0));
      if (segment === undefined) throw new Error('no segment');
      expect((await pack.readChecked(segment, buffer)).equals(frames[at] ?? Buffer.alloc(0))).toBe(true);
    }
    await pack.close();
  });

  it('a flipped byte anywhere in the frames is told by the block it lies in', async () => {
    const { packId, keys, frames } = await writePack([1, 2]);
    const file = join(path, 'packs', packId.slice(0, 2), `${packId}.pack`);
    const length = frames.reduce((sum, { length: bytes }) => sum + bytes, 64);
    for (const at of [64, 64 + Math.floor(length / 2), length - 1]) {
      const handle = await open(file, 'r+');
      const flip = async (): Promise<void> => {
        const byte = Buffer.alloc(1);
        await handle.read(byte, 0, 1, at);
        byte.writeUInt8(byte.readUInt8(0) ^ 1, 0);
        await handle.write(byte, 0, 1, at);
      };
      await flip();
      const pack = await PackReader.open(az, packId);
      if (pack === undefined) throw new Error('no pack');
      const reads = async (): Promise<void> => {
        const buffer = new BlockBuffer();
        for (const key of keys) {
          const segment = pack.find(key);
          if (segment !== undefined) await pack.readChecked(segment, buffer);
        }
      };
      await expect(reads()).rejects.toThrow(`block ${Math.floor(at / CHECKSUM_BLOCK_BYTES)} of 256 KiB`);
      await pack.close();
      await flip();
      await handle.close();
    }
  });

  it('never grows past its limit', async () => {
    const writer = await PackWriter.create(az, randomUUID(), randomUUID());
    const leaves = randomBytes(LEAVES_PER_SEGMENT * HASH_BYTES);
    const frames = Array.from({ length: 8 }, () => randomBytes(SEGMENT_BYTES / 8));
    let segments = 0;
    while (writer.hasRoomFor(SEGMENT_BYTES)) {
      await writer.addSegment(randomBytes(32), leaves, frames);
      segments += 1;
    }
    expect(segments).toBeGreaterThanOrEqual(31);
    expect(await writer.seal()).toBeLessThanOrEqual(PACK_LIMIT_BYTES);
  });

  it('an unsealed pack is no pack, and a cut one is refused', async () => {
    const writer = await PackWriter.create(az, randomUUID(), randomUUID());
    expect(await PackReader.open(az, writer.packId)).toBeUndefined();
    await writer.abandon();
    const { packId } = await writePack([1]);
    const file = join(path, 'packs', packId.slice(0, 2), `${packId}.pack`);
    const { length } = await readFile(file);
    const handle = await open(file, 'r+');
    await handle.truncate(length - 1);
    await handle.close();
    await expect(PackReader.open(az, packId)).rejects.toThrow(StoredBytesDamagedError);
  });

  it('names that are not ours never reach the file system', async () => {
    await expect(az.openPack('../../etc/passwd')).rejects.toThrow(TypeError);
    await expect(az.readManifest(randomUUID(), '../x')).rejects.toThrow(TypeError);
    await expect(az.removePack('')).rejects.toThrow(TypeError);
  });
});

(mayMount() ? describe : describe.skip)('a pack on a disk without space', () => {
  let full: AzStore;
  let mounted: string;
  beforeEach(async () => {
    mounted = await temporaryDirectory();
    mountSmallDisk(mounted, 1);
    const directory = join(mounted, 'az1');
    await mkdir(directory);
    full = openAz({ driver: 'directory', name: 'az1', path: directory });
    await full.initialize(randomUUID());
  });
  afterEach(() => {
    unmountSmallDisk(mounted);
  });

  async function fill(): Promise<void> {
    const filler = await open(join(mounted, 'filler'), 'w');
    try {
      await expect(filler.writeFile(Buffer.alloc(2 * 1024 * 1024))).rejects.toMatchObject({ code: 'ENOSPC' });
    } finally {
      await filler.close();
    }
  }

  /** Files of the disk that this process holds open. */
  async function held(): Promise<string[]> {
    // The listing's own descriptor is gone by the time it is asked for.
    const links = await Promise.all(
      (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
    );
    return links.filter((target) => target.startsWith(mounted));
  }

  it('is closed when its header does not fit', async () => {
    await fill();
    await expect(PackWriter.create(full, randomUUID(), randomUUID())).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(await held()).toEqual([]);
  });

  it('is closed when its footer does not fit, also for the one who closes it once more', async () => {
    const writer = await PackWriter.create(full, randomUUID(), randomUUID());
    const leaves = randomBytes(LEAVES_PER_SEGMENT * HASH_BYTES);
    // Up to the end of a page, so that the footer needs a new one.
    await writer.addSegment(randomBytes(32), leaves, [randomBytes(PAGE_BYTES - PACK_HEADER_BYTES)]);
    await fill();
    expect(await held()).toHaveLength(1);
    await expect(writer.seal()).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(await held()).toEqual([]);
    await writer.abandon();
    expect(await held()).toEqual([]);
  });
});
