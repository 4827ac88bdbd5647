import { storedBytesOf } from '../layout/pack-format';
import type { DomainSeal } from '../layout/seal';
import type { AzStore } from '../placement/az-store.port';
import { PackWriter } from '../placement/pack-writer';
import { type AskOwner, COUNTER, type LookupEntry } from './thread-protocol';

/** A segment that is to be written: its leaf hashes and its compressed frames. */
export interface PackableSegment extends LookupEntry {
  key: Buffer;
  leaves: Buffer;
  frames: readonly Buffer[];
}

/** Into which domain a lane writes. */
export interface PackTarget {
  domainId: string;
  counters: SharedArrayBuffer;
  /** Of an encrypted domain: frames and leaf hashes are sealed on their way into the pack. */
  seal: DomainSeal | undefined;
}

/** The packs of one lane: one open, one being made durable, one id in reserve. */
export class LanePacks {
  private open: { writer: PackWriter; entries: LookupEntry[] } | undefined;
  private sealing: Promise<void> | undefined;
  private reserve: Promise<string>;
  private readonly counters: Int32Array;

  constructor(
    private readonly az: AzStore,
    private readonly target: PackTarget,
    private readonly ask: AskOwner,
  ) {
    this.counters = new Int32Array(target.counters);
    this.reserve = ask('openPack', null);
  }

  /** Compress, seal, checksum: in this order (design 4). What is given is used before this resolves, and not afterwards. */
  async write({ index, root, key, leaves, frames: compressed }: PackableSegment): Promise<void> {
    const seal = this.target.seal?.segment(key);
    const sealed = seal === undefined ? undefined : compressed.map((frame, at) => seal.sealFrame(at, frame));
    const frames = sealed === undefined ? compressed : sealed.map(({ bytes }) => bytes);
    const nonces = sealed?.map(({ nonce }) => nonce);
    const storedBytes = storedBytesOf(frames.map((frame) => frame.length));
    if (this.open !== undefined && !this.open.writer.hasRoomFor(storedBytes)) await this.sealOpen();
    this.open ??= { writer: await this.createPack(), entries: [] };
    await this.open.writer.addSegment(key, seal?.sealLeaves(leaves) ?? leaves, frames, nonces);
    this.open.entries.push({ index, root, key });
    Atomics.add(this.counters, COUNTER.kibibytesWritten, Math.ceil(storedBytes / 1024));
  }

  async finish(): Promise<void> {
    if (this.open !== undefined) await this.sealOpen();
    await this.sealing;
  }

  /** Leaves nothing open in this process; what was not sealed is found by the next attempt. */
  async close(): Promise<void> {
    await Promise.allSettled([this.sealing]);
    await this.open?.writer.abandon();
    this.open = undefined;
  }

  private async createPack(): Promise<PackWriter> {
    const packId = await this.reserve;
    this.reserve = this.ask('openPack', null);
    return PackWriter.create(this.az, packId, this.target.domainId, this.target.seal !== undefined);
  }

  // One pack at a time is made durable while the next one fills; waiting for the one before bounds what a crash can lose.
  private async sealOpen(): Promise<void> {
    await this.sealing;
    const { open } = this;
    if (open === undefined) return;
    this.open = undefined;
    this.sealing = this.sealAndReport(open.writer, open.entries);
    this.sealing.catch(() => undefined);
  }

  private async sealAndReport(writer: PackWriter, entries: LookupEntry[]): Promise<void> {
    const sizeBytes = await writer.seal();
    const segments = writer.written.map(({ offset, frameLengths, frameChecksums, frameNonces }, position) => {
      const entry = entries[position];
      if (entry === undefined) throw new RangeError(`pack ${writer.packId}: segment ${position} has no entry`);
      const nonces = frameNonces === undefined ? {} : { frameNonces };
      return { ...entry, offset, frameLengths, frameChecksums, ...nonces };
    });
    await this.ask('sealed', { packId: writer.packId, sizeBytes, segments });
  }
}
