import type { FileHandle } from 'node:fs/promises';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { mapSparseFile } from '@ims/buckets';

/** Smallest granule; every other one is a multiple of it. 64 KiB is the cluster of QCOW2: small writes copy little, a terabyte has a map of 2 MiB. */
export const GRANULE_BYTES = 64 * 1024;

const MAGIC = Buffer.from('IMSLAYR1', 'latin1');
// One page of the file system, so that the map's pages are pages of the disk as well.
const PAGE_BYTES = 4096;
// A word of a map in which every granule is held.
const ALL_SET = 0xffffffff;

export interface LayerGeometry {
  id: string;
  sizeBytes: number;
  granuleBytes: number;
}

/**
 * One layer of disk content in two files: `<id>.raw` holds granules at their own guest address (sparse), `<id>.map` one bit per granule that
 * the layer holds. A layer that stands on nothing is a plain raw file, its map then only says where something was ever written.
 */
export class LayerFile {
  private readonly dirtyPages = new Set<number>();
  private mapWrites: Promise<unknown> = Promise.resolve();
  private markedCount: number;
  private readonly bits: Buffer;

  private constructor(
    readonly geometry: LayerGeometry,
    private readonly paths: { data: string },
    private readonly data: FileHandle,
    private readonly map: FileHandle,
    /** Four bytes at a time, for walks; bytes past the map's end are zeros. */
    private readonly words: Uint32Array<ArrayBuffer>,
  ) {
    this.bits = bitsOf(geometry, words);
    this.markedCount = countBits(this.bits);
  }

  static paths(directory: string, id: string): { data: string; map: string } {
    return { data: join(directory, `${id}.raw`), map: join(directory, `${id}.map`) };
  }

  /** Replaces whatever a dead attempt left under the same id. The files are durable when this resolves, their directory entries with `flush`. */
  static async create(directory: string, geometry: LayerGeometry): Promise<LayerFile> {
    const paths = LayerFile.paths(directory, geometry.id);
    const data = await open(paths.data, 'w+', 0o600);
    try {
      const map = await open(paths.map, 'w+', 0o600);
      try {
        await map.write(headerOf(geometry), 0, PAGE_BYTES, 0);
        await map.truncate(PAGE_BYTES + mapBytes(geometry));
        await map.datasync();
        const folder = await open(directory, 'r');
        await folder.sync().finally(() => folder.close());
        return new LayerFile(geometry, paths, data, map, wordsFor(geometry));
      } catch (error) {
        await map.close();
        throw error;
      }
    } catch (error) {
      await data.close();
      throw error;
    }
  }

  /** @throws Error when the files are absent or not of this geometry */
  static async open(directory: string, geometry: LayerGeometry, mode: 'r' | 'r+'): Promise<LayerFile> {
    const paths = LayerFile.paths(directory, geometry.id);
    const data = await open(paths.data, mode);
    try {
      const map = await open(paths.map, mode);
      try {
        const header = Buffer.alloc(PAGE_BYTES);
        await fill(map, header, 0);
        if (!header.equals(headerOf(geometry)))
          throw new Error(`open disk layer ${geometry.id}: its map is of another disk`);
        const words = wordsFor(geometry);
        await fill(map, bitsOf(geometry, words), PAGE_BYTES);
        return new LayerFile(geometry, paths, data, map, words);
      } catch (error) {
        await map.close();
        throw error;
      }
    } catch (error) {
      await data.close();
      throw error;
    }
  }

  static async remove(directory: string, id: string): Promise<void> {
    const paths = LayerFile.paths(directory, id);
    await rm(paths.data, { force: true });
    await rm(paths.map, { force: true });
  }

  /** Bytes of the granules held. */
  get heldBytes(): number {
    return this.markedCount * this.geometry.granuleBytes;
  }

  /** Whether the granule of a guest address lies in this layer. */
  holds(address: number): boolean {
    const granule = Math.floor(address / this.geometry.granuleBytes);
    return ((this.bits[granule >>> 3] ?? 0) & (1 << (granule & 7))) !== 0;
  }

  /** The run of granules that begins at `address`, all held or none: how it is and where it ends, at `end` at the latest. */
  runAt(address: number, end: number): { isHeld: boolean; end: number } {
    const { granuleBytes } = this.geometry;
    const isHeld = this.holds(address);
    // Past the map nothing is held.
    const limit = Math.min(Math.ceil(end / granuleBytes), this.bits.length * 8);
    let granule = Math.floor(address / granuleBytes) + 1;
    const even = isHeld ? ALL_SET : 0;
    while (granule < limit) {
      if ((granule & 31) === 0 && this.words[granule >>> 5] === even) {
        granule += 32;
        continue;
      }
      if ((((this.bits[granule >>> 3] ?? 0) & (1 << (granule & 7))) !== 0) !== isHeld) break;
      granule += 1;
    }
    if (!isHeld && granule >= limit) return { isHeld, end };
    return { isHeld, end: Math.min(end, granule * granuleBytes) };
  }

  /**
   * Ranges of the data file that may hold bytes other than zeros, whatever the map says: a process that died may have written what it did not get to
   * mark. The whole file where its holes cannot be told.
   */
  async writtenRanges(): Promise<{ offset: number; length: number }[]> {
    const { blocks, size } = await this.data.stat();
    if (blocks === 0) return [];
    return (await mapSparseFile(this.paths.data, size)) ?? [{ offset: 0, length: size }];
  }

  /** File bytes; what was never written reads as zeros. */
  async read(address: number, target: Uint8Array): Promise<void> {
    target.fill(0, await fill(this.data, target, address));
  }

  async write(address: number, bytes: Uint8Array): Promise<void> {
    let written = 0;
    while (written < bytes.length) {
      const { bytesWritten } = await this.data.write(bytes, written, bytes.length - written, address + written);
      written += bytesWritten;
    }
  }

  /**
   * From now on the granule is read from here. Call after its bytes were written: the mark gets on disk with the next `flush`, after those bytes, so
   * that no crash lets a half copied granule hide what lies below.
   */
  mark(address: number): void {
    const byte = this.setBit(address);
    if (byte !== undefined) this.dirtyPages.add(Math.floor(byte / PAGE_BYTES));
  }

  /** The same for a layer that stands on nothing, before the first write to the granule: then no crash leaves bytes that the map does not know of. */
  async markAhead(address: number): Promise<void> {
    const byte = this.setBit(address);
    if (byte === undefined) return;
    await this.writeMap(async () => {
      await this.map.write(this.bits, byte, 1, PAGE_BYTES + byte);
    });
  }

  /** Everything written so far survives a crash of the machine. */
  async flush(): Promise<void> {
    // Copied before the data is synchronised: a mark made meanwhile may belong to bytes that this call does not cover.
    const pages = [...this.dirtyPages].map((page) => {
      const at = page * PAGE_BYTES;
      return { at, bytes: Buffer.from(this.bits.subarray(at, at + PAGE_BYTES)) };
    });
    this.dirtyPages.clear();
    try {
      await this.data.datasync();
      await this.writeMap(async () => {
        for (const { at, bytes } of pages) await this.map.write(bytes, 0, bytes.length, PAGE_BYTES + at);
        await this.map.datasync();
      });
    } catch (error) {
      for (const { at } of pages) this.dirtyPages.add(at / PAGE_BYTES);
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.mapWrites.catch(() => undefined);
    await this.data.close();
    await this.map.close();
  }

  private setBit(address: number): number | undefined {
    const granule = Math.floor(address / this.geometry.granuleBytes);
    const byte = granule >>> 3;
    const before = this.bits[byte];
    if (before === undefined) throw new RangeError(`disk layer ${this.geometry.id} has no address ${address}`);
    const after = before | (1 << (granule & 7));
    if (after === before) return undefined;
    this.bits[byte] = after;
    this.markedCount += 1;
    return byte;
  }

  // In the order of asking: two writes of one byte that overtake each other would lose a mark.
  private writeMap(write: () => Promise<void>): Promise<void> {
    const turn = this.mapWrites.then(write, write);
    this.mapWrites = turn.catch(() => undefined);
    return turn;
  }
}

const wordsFor = (geometry: LayerGeometry): Uint32Array<ArrayBuffer> =>
  new Uint32Array(Math.ceil(mapBytes(geometry) / Uint32Array.BYTES_PER_ELEMENT));

const bitsOf = (geometry: LayerGeometry, words: Uint32Array<ArrayBuffer>): Buffer =>
  Buffer.from(words.buffer, 0, mapBytes(geometry));

const mapBytes = ({ sizeBytes, granuleBytes }: LayerGeometry): number => Math.ceil(sizeBytes / granuleBytes / 8);

function headerOf({ sizeBytes, granuleBytes }: LayerGeometry): Buffer {
  const header = Buffer.alloc(PAGE_BYTES);
  MAGIC.copy(header);
  header.writeUInt32BE(granuleBytes, 8);
  header.writeBigUInt64BE(BigInt(sizeBytes), 16);
  return header;
}

/** Number of bytes that the file has from there, at most the target's length. */
async function fill(handle: FileHandle, target: Uint8Array, position: number): Promise<number> {
  let filled = 0;
  while (filled < target.length) {
    const { bytesRead } = await handle.read(target, filled, target.length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}

function countBits(bits: Buffer): number {
  let count = 0;
  for (const byte of bits) for (let rest = byte; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}
