import { crc32 } from 'node:zlib';
import { combineCrc32 } from '../layout/crc32-combine';
import {
  CHECKSUM_BLOCK_BYTES,
  encodePackFooter,
  encodePackHeader,
  FOOTER_ROW_LIMIT_BYTES,
  type PackedSegment,
  type PackHeader,
  PACK_TRAILER_BYTES,
} from '../layout/pack-format';
import type { AzStore, PackSink } from './az-store.port';

/** Largest pack: one fsync or PUT for this many bytes, 16 thousand objects for a terabyte (design 4, "Pack"). */
export const PACK_LIMIT_BYTES = 64 * 1024 * 1024;
/** Most segments of one pack, so that the footer of a pack of nearly empty segments stays small in memory (17 MiB at most). */
export const PACK_LIMIT_SEGMENTS = 4096;

/** Writes one pack: header, frames of each segment, footer. */
export class PackWriter {
  private readonly segments: PackedSegment[] = [];
  private readonly blockChecksums: number[] = [];
  private blockChecksum = 0;
  private blockFilled = 0;
  private position = 0;

  private constructor(
    private readonly header: PackHeader,
    private readonly sink: PackSink,
  ) {}

  /**
   * Creates the open pack. `packId` must be known to the index before; `sealedFrames` says that the domain is an encrypted one. A pack that cannot be
   * begun (a full disk) is left closed.
   */
  static async create(az: AzStore, packId: string, domainId: string, sealedFrames = false): Promise<PackWriter> {
    const header = { packId, domainId, k: 1, m: 0, shard: 0, sealedFrames };
    const writer = new PackWriter(header, await az.createPack(packId));
    await writer.closeIfFailed(async () => {
      const bytes = encodePackHeader(header);
      writer.addToChecksums(bytes);
      await writer.sink.append([bytes]);
    });
    return writer;
  }

  get packId(): string {
    return this.header.packId;
  }

  /** Segments written so far, in order. */
  get written(): readonly PackedSegment[] {
    return this.segments;
  }

  /** True when a segment of this many stored bytes still fits into the limits. */
  hasRoomFor(storedBytes: number): boolean {
    if (this.segments.length === 0) return true;
    const footerBytes = (this.segments.length + 1) * FOOTER_ROW_LIMIT_BYTES + PACK_TRAILER_BYTES;
    const checksumBytes = (PACK_LIMIT_BYTES / CHECKSUM_BLOCK_BYTES) * 4 + 8;
    return (
      this.segments.length < PACK_LIMIT_SEGMENTS &&
      this.position + storedBytes + footerBytes + checksumBytes <= PACK_LIMIT_BYTES
    );
  }

  /** Appends the frames of one segment as they are; sealed ones with their nonces, and then the leaves are sealed too. */
  async addSegment(key: Buffer, leaves: Buffer, frames: readonly Buffer[], frameNonces?: Buffer[]): Promise<void> {
    if (this.header.sealedFrames !== (frameNonces !== undefined))
      throw new TypeError(`pack ${this.packId}: sealed and plain frames do not lie in one pack`);
    const offset = this.position;
    const frameChecksums = frames.map((frame) => this.addToChecksums(frame));
    await this.sink.append(frames);
    this.segments.push({
      key,
      offset,
      leaves: Buffer.from(leaves),
      frameLengths: frames.map((frame) => frame.length),
      frameChecksums,
      ...(frameNonces === undefined ? {} : { frameNonces }),
    });
  }

  /** Writes the footer; resolves with the size of the pack once it is durable under its final name. Closed afterwards, sealed or not. */
  async seal(): Promise<number> {
    const blockChecksums = this.blockFilled > 0 ? [...this.blockChecksums, this.blockChecksum] : this.blockChecksums;
    const footer = encodePackFooter(this.header, { segments: this.segments, blockChecksums }, this.position);
    await this.closeIfFailed(async () => {
      await this.sink.append([footer]);
      await this.sink.seal();
    });
    return this.position + footer.length;
  }

  /** Closes without sealing. Nothing happens when it is closed already. */
  abandon(): Promise<void> {
    return this.sink.abandon();
  }

  private async closeIfFailed(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      // What failed is what the caller has to know, not that closing failed too.
      await this.abandon().catch(() => undefined);
      throw error;
    }
  }

  /** Adds bytes to the checksums of the shard's blocks; returns the checksum of the bytes alone. */
  private addToChecksums(bytes: Buffer): number {
    this.position += bytes.length;
    let whole = 0;
    for (let at = 0; at < bytes.length;) {
      const piece = bytes.subarray(at, at + CHECKSUM_BLOCK_BYTES - this.blockFilled);
      const checksum = crc32(piece);
      whole = at === 0 ? checksum : combineCrc32(whole, checksum, piece.length);
      this.blockChecksum = combineCrc32(this.blockChecksum, checksum, piece.length);
      this.blockFilled += piece.length;
      at += piece.length;
      if (this.blockFilled < CHECKSUM_BLOCK_BYTES) continue;
      this.blockChecksums.push(this.blockChecksum);
      this.blockChecksum = 0;
      this.blockFilled = 0;
    }
    return whole;
  }
}
