import { crc32 } from 'node:zlib';
import { StoredBytesDamagedError } from '../errors';
import {
  CHECKSUM_BLOCK_BYTES,
  decodePackFooter,
  decodePackHeader,
  decodePackTrailer,
  type PackedSegment,
  PACK_HEADER_BYTES,
  PACK_TRAILER_BYTES,
  storedBytesOf,
} from '../layout/pack-format';
import type { AzStore, PackSource } from './az-store.port';

/** A sealed pack with its footer read and checked. */
export class PackReader {
  private readonly byKey: ReadonlyMap<string, PackedSegment>;

  private constructor(
    readonly packId: string,
    readonly domainId: string,
    /** Frames and leaf hashes are sealed under the domain's data key. */
    readonly isSealed: boolean,
    private readonly source: PackSource,
    readonly segments: readonly PackedSegment[],
    private readonly blockChecksums: readonly number[],
    private readonly footerOffset: number,
  ) {
    this.byKey = new Map(segments.map((segment) => [segment.key.toString('latin1'), segment]));
  }

  /** `undefined` when there is no such sealed pack. Throws `StoredBytesDamagedError` when header or footer are not what was written. */
  static async open(az: AzStore, packId: string): Promise<PackReader | undefined> {
    const source = await az.openPack(packId);
    if (source === undefined) return undefined;
    try {
      if (source.sizeBytes < PACK_HEADER_BYTES + PACK_TRAILER_BYTES) {
        throw new StoredBytesDamagedError('pack: is too short');
      }
      const headerBytes = await readAt(source, 0, PACK_HEADER_BYTES);
      const header = decodePackHeader(headerBytes);
      if (header.packId !== packId) throw new StoredBytesDamagedError(`pack header: names pack ${header.packId}`);
      const trailerAt = source.sizeBytes - PACK_TRAILER_BYTES;
      const trailer = decodePackTrailer(await readAt(source, trailerAt, PACK_TRAILER_BYTES), source.sizeBytes);
      const body = await readAt(source, trailer.offset, trailer.length);
      const footer = decodePackFooter(headerBytes, body, trailer.digest, trailer.offset);
      return new PackReader(
        packId,
        header.domainId,
        header.sealedFrames,
        source,
        footer.segments,
        footer.blockChecksums,
        trailer.offset,
      );
    } catch (cause) {
      await source.close();
      if (!(cause instanceof StoredBytesDamagedError)) throw cause;
      throw new StoredBytesDamagedError(`pack ${packId}: ${cause.message}`, { cause });
    }
  }

  get sizeBytes(): number {
    return this.source.sizeBytes;
  }

  find(key: Buffer): PackedSegment | undefined {
    return this.byKey.get(key.toString('latin1'));
  }

  /**
   * Reads a segment's frames together with the whole shard blocks they touch, and checks each block. `buffer` holds what the last call
   * read, so that neighbours share a block without reading it again. Throws `StoredBytesDamagedError` naming the block.
   */
  async readChecked(segment: PackedSegment, buffer: BlockBuffer): Promise<Buffer> {
    const end = segment.offset + storedBytesOf(segment.frameLengths);
    const from = Math.floor(segment.offset / CHECKSUM_BLOCK_BYTES) * CHECKSUM_BLOCK_BYTES;
    const to = Math.min(Math.ceil(end / CHECKSUM_BLOCK_BYTES) * CHECKSUM_BLOCK_BYTES, this.footerOffset);
    const kept = buffer.keep(this.packId, from, to);
    const target = buffer.bytes.subarray(kept, to - from);
    await this.source.read(from + kept, target);
    for (let at = 0; at < target.length; at += CHECKSUM_BLOCK_BYTES) {
      const block = (from + kept + at) / CHECKSUM_BLOCK_BYTES;
      if (crc32(target.subarray(at, at + CHECKSUM_BLOCK_BYTES)) !== this.blockChecksums[block]) {
        throw this.damagedBlock(block);
      }
    }
    buffer.hold(this.packId, from, to);
    return buffer.bytes.subarray(segment.offset - from, end - from);
  }

  private damagedBlock(block: number): StoredBytesDamagedError {
    return new StoredBytesDamagedError(`pack ${this.packId}: block ${block} of 256 KiB differs from its checksum`);
  }

  /** Reads the whole shard and checks every block. Throws `StoredBytesDamagedError` naming the first that differs. */
  async checkBlocks(): Promise<void> {
    const bytes = Buffer.allocUnsafe(CHECKSUM_BLOCK_BYTES);
    for (const [block, expected] of this.blockChecksums.entries()) {
      const at = block * CHECKSUM_BLOCK_BYTES;
      const piece = bytes.subarray(0, Math.min(CHECKSUM_BLOCK_BYTES, this.footerOffset - at));
      await this.source.read(at, piece);
      if (crc32(piece) !== expected) throw this.damagedBlock(block);
    }
  }

  close(): Promise<void> {
    return this.source.close();
  }
}

/** Room for the blocks of one segment, reused from segment to segment. */
export class BlockBuffer {
  // A segment is at most 2 MiB and a little, and touches at most one block more than its length needs at either end.
  readonly bytes = Buffer.allocUnsafeSlow(2 * 1024 * 1024 + 3 * CHECKSUM_BLOCK_BYTES);
  private held: { packId: string; from: number; to: number } | undefined;

  /** Moves what is held of `[from, to)` to the front and returns its length; nothing is held until `hold` says so again. */
  keep(packId: string, from: number, to: number): number {
    const { held } = this;
    this.held = undefined;
    if (to - from > this.bytes.length)
      throw new StoredBytesDamagedError(`pack ${packId}: a segment of ${to - from} stored bytes`);
    if (held === undefined || held.packId !== packId || from < held.from || from >= held.to) return 0;
    this.bytes.copyWithin(0, from - held.from, held.to - held.from);
    return Math.min(held.to, to) - from;
  }

  /** The bytes from the front on are `[from, to)` of the pack, checked. */
  hold(packId: string, from: number, to: number): void {
    this.held = { packId, from, to };
  }
}

async function readAt(source: PackSource, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  await source.read(position, bytes);
  return bytes;
}
