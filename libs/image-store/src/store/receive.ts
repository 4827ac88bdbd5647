import { randomUUID } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { CONTENT, type ReceivedDisk } from '@ims/contract';
import { ExchangeError, StaleAttemptError, StoredBytesDamagedError } from '../errors';
import type { ReceiveRequest } from '../image-store.port';
import { compressSegment, decompressFrame } from '../layout/frame';
import { Manifest } from '../layout/manifest';
import {
  applyLeaves,
  decodeAnswer,
  encodeWants,
  leafHeads,
  MAX_WANTS,
  type SentSegment,
  type Want,
  wantBytes,
} from '../layout/segment-exchange';
import {
  FRAME_BYTES,
  HASH_BYTES,
  hashLeaves,
  LEAVES_PER_SEGMENT,
  SEGMENT_BYTES,
  segmentRoot,
  storageKey,
} from '../layout/segment';
import { storedBytesOf } from '../layout/pack-format';
import type { AzStore } from '../placement/az-store.port';
import { PackWriter } from '../placement/pack-writer';
import type { LookupEntry } from '../threads/thread-protocol';
import { type DiskParts, SegmentReader } from './disk-files';
import { nameOf, writeManifest } from './ingest';
import type { Domains } from './domains';
import type { Holder, SegmentIndex } from './segment-index';

// Segments looked up with one statement.
const WINDOW = 512;
// Requests under way at once: one is on the line, one is being answered, one is being checked here.
const LANES = 3;
// Each base is kept decoded until its answer is there: 16 MiB for each lane at most.
const MAX_BASES = 8;

export interface ReceiveParts {
  az: AzStore;
  index: SegmentIndex;
  domains: Domains;
}

/** Runs one receive. As with an ingest, everything that must survive a crash is in the index: holds are the resume position. */
export async function receive(parts: ReceiveParts, request: ReceiveRequest, base?: DiskParts): Promise<ReceivedDisk> {
  const { index, domains } = parts;
  const { jobId, part = CONTENT, domainId, manifestHash, remote, signal } = request;
  signal.throwIfAborted();
  const holder = { jobId, part };
  const { secret, seal } = await domains.open(domainId);
  // ENC-04: what comes from another region comes into the open.
  if (seal !== undefined) throw new TypeError(`receive of job ${jobId}: domain ${domainId} is an encrypted one`);
  await dropOpenPacks(parts, jobId);
  const manifestBytes = await remote.manifest(signal);
  const manifest = Manifest.decode(manifestBytes);
  if (manifest.hash !== manifestHash)
    throw new StoredBytesDamagedError(`manifest ${manifestHash}: what was sent has the hash ${manifest.hash}`);
  const held = await index.heldIndexes(holder, domainId);
  const session = new ReceiveSession(parts, request, holder, secret, manifest, held, base);
  try {
    await session.run();
  } finally {
    await session.close();
  }
  const disk = await writeManifest(parts, holder, { domainId, virtualSizeBytes: manifest.virtualSizeBytes });
  if (disk.manifestHash !== manifestHash)
    throw new StoredBytesDamagedError(`manifest ${manifestHash}: what arrived has the hash ${disk.manifestHash}`);
  return { ...disk, wireBytes: manifestBytes.length + (await index.heldWireBytes(holder, domainId)) };
}

/**
 * What a dead attempt left unregistered is sent once more: its bytes could be taken over, but what it took to bring them is recorded with the holds,
 * which it did not get.
 */
async function dropOpenPacks({ az, index }: ReceiveParts, jobId: string): Promise<void> {
  const open = (await index.openPacksOf(jobId)).map(({ id }) => id);
  for (const packId of open) await az.removePack(packId);
  await index.forgetOpenPacks(open);
}

/** A segment that has to come from the other side. */
interface Missing extends LookupEntry {
  position: number;
  /** It was sent as leaves and the root did not come out: the next time it is asked for whole. */
  isWhole?: boolean;
}

class ReceiveSession {
  readonly #missing: Missing[] = [];
  /** Segments with the content of one that is asked for already, by storage key; held once that one is. */
  readonly #waiters = new Map<string, LookupEntry[]>();
  readonly #stop = new AbortController();
  readonly #bases: SegmentReader | undefined;
  readonly #signal: AbortSignal;
  #next = 0;
  #pack: { writer: PackWriter; entries: (LookupEntry & { wireBytes: number })[] } | undefined;
  #writing: Promise<void> = Promise.resolve();
  #heldNow: number;
  #bytesWritten = 0;

  constructor(
    private readonly parts: ReceiveParts,
    private readonly request: ReceiveRequest,
    private readonly holder: Holder,
    private readonly secret: Buffer,
    private readonly manifest: Manifest,
    private readonly heldBefore: ReadonlySet<number>,
    private readonly base: DiskParts | undefined,
  ) {
    this.#heldNow = heldBefore.size;
    this.#bases = base === undefined ? undefined : new SegmentReader(base);
    this.#signal = AbortSignal.any([request.signal, this.#stop.signal]);
  }

  async run(): Promise<void> {
    await this.#lookUp();
    const lanes = Array.from({ length: LANES }, () => this.#lane());
    let first: { error: unknown } | undefined;
    await Promise.all(
      lanes.map((lane) =>
        lane.catch((error: unknown) => {
          first ??= { error };
          this.#stop.abort();
        }),
      ),
    );
    this.request.signal.throwIfAborted();
    if (first !== undefined) {
      // What has arrived is kept: with a line that breaks again and again every attempt brings the next one nearer to the end.
      await this.#seal().catch(() => undefined);
      throw first.error;
    }
    await this.#seal();
    if (this.#heldNow !== this.manifest.dataSegments.length)
      throw new RangeError(`receive of job ${this.holder.jobId}: ${this.#heldNow} segments are held`);
    this.#report();
  }

  async close(): Promise<void> {
    await this.#writing.catch(() => undefined);
    await this.#pack?.writer.abandon();
    await this.#bases?.close();
  }

  /** Holds what this domain has; the rest is what has to come. */
  async #lookUp(): Promise<void> {
    const { manifest, heldBefore, secret } = this;
    const seen = new Set<string>();
    for (let from = 0; from < manifest.dataSegments.length; from += WINDOW) {
      this.#signal.throwIfAborted();
      const entries: Missing[] = [];
      for (let position = from; position < Math.min(from + WINDOW, manifest.dataSegments.length); position += 1) {
        const index = manifest.dataSegments[position] ?? 0;
        if (heldBefore.has(index)) continue;
        const root = manifest.rootAt(position);
        entries.push({ position, index, root, key: storageKey(secret, root) });
      }
      const stored = await this.parts.index.holdStored(this.holder, this.request.domainId, entries);
      this.#heldNow += stored.size;
      for (const entry of entries) {
        if (stored.has(entry.index)) continue;
        const name = nameOf(entry.key);
        if (seen.has(name)) this.#waiters.set(name, [...(this.#waiters.get(name) ?? []), entry]);
        else this.#missing.push(entry);
        seen.add(name);
      }
      this.#report();
    }
  }

  /** Asks for batch after batch and takes in what comes. */
  async #lane(): Promise<void> {
    for (let batch = await this.#nextBatch(); batch.size > 0; batch = await this.#nextBatch()) {
      this.#signal.throwIfAborted();
      const wants = [...batch.values()].map(({ want }) => want);
      const sent = decodeAnswer(await this.request.remote.exchange(encodeWants(wants), this.#signal));
      if (sent.length === 0) throw new ExchangeError('answer: has none of the segments that were asked for');
      for (const segment of sent) {
        const asked = batch.get(segment.index);
        if (asked === undefined) throw new ExchangeError(`answer: segment ${segment.index} was not asked for`);
        batch.delete(segment.index);
        await this.#take(asked, segment);
        // Heartbeats and other jobs get their turn.
        await nextTurn();
      }
      // What did not fit into the answer.
      this.#missing.push(...[...batch.values()].map(({ missing }) => missing));
    }
  }

  async #nextBatch(): Promise<Map<number, Asked>> {
    const batch = new Map<number, Asked>();
    let bases = 0;
    while (batch.size < MAX_WANTS && bases < MAX_BASES) {
      const missing = this.#missing[this.#next];
      if (missing === undefined) break;
      this.#next += 1;
      const plain = await this.#baseOf(missing);
      if (plain === undefined) batch.set(missing.index, { missing, want: { index: missing.index } });
      else {
        bases += 1;
        batch.set(missing.index, { missing, plain, want: { index: missing.index, base: leafHeads(plain) } });
      }
    }
    return batch;
  }

  /** The same segment of the base, decoded. */
  async #baseOf({ index, isWhole }: Missing): Promise<Buffer | undefined> {
    const { base } = this;
    if (base === undefined || isWhole === true) return undefined;
    const position = base.manifest.positionFrom(index);
    if (base.manifest.dataSegments[position] !== index) return undefined;
    try {
      return await this.#bases?.segment(position);
    } catch (error) {
      // Gone or damaged: then it is no base. What is built on it is checked by its root in any case.
      if (error instanceof StoredBytesDamagedError) return undefined;
      throw error;
    }
  }

  async #take({ missing, plain, want }: Asked, sent: SentSegment): Promise<void> {
    const segment = segmentOf(sent, plain);
    const leaves = Buffer.allocUnsafe(LEAVES_PER_SEGMENT * HASH_BYTES);
    hashLeaves(segment, leaves);
    if (!segmentRoot(leaves).equals(missing.root)) {
      if (sent.kind === 'whole') throw new ExchangeError(`answer: segment ${sent.index} has another root`);
      this.#missing.push({ ...missing, isWhole: true });
      return;
    }
    const wireBytes = wantBytes(want) + sent.wireBytes;
    // One after the other: positions in the pack follow from the order of writes.
    const written = this.#writing.then(() => {
      this.#signal.throwIfAborted();
      return this.#write(
        { ...missing, wireBytes },
        leaves,
        sent.kind === 'whole' ? sent.frames : compressSegment(segment),
      );
    });
    this.#writing = written.catch(() => undefined);
    await written;
  }

  async #write(entry: LookupEntry & { wireBytes: number }, leaves: Buffer, frames: readonly Buffer[]): Promise<void> {
    const storedBytes = storedBytesOf(frames.map((frame) => frame.length));
    if (this.#pack !== undefined && !this.#pack.writer.hasRoomFor(storedBytes)) await this.#sealPack();
    this.#pack ??= { writer: await this.#createPack(), entries: [] };
    await this.#pack.writer.addSegment(Buffer.from(entry.key), leaves, frames);
    this.#pack.entries.push({ index: entry.index, root: entry.root, key: entry.key, wireBytes: entry.wireBytes });
    this.#bytesWritten += storedBytes;
  }

  async #createPack(): Promise<PackWriter> {
    const { az, index } = this.parts;
    const packId = randomUUID();
    await index.createPack(packId, this.request.domainId, this.holder.jobId);
    return PackWriter.create(az, packId, this.request.domainId);
  }

  async #seal(): Promise<void> {
    await this.#writing;
    await this.#sealPack();
  }

  async #sealPack(): Promise<void> {
    const pack = this.#pack;
    if (pack === undefined) return;
    const { writer, entries } = pack;
    const { az, index } = this.parts;
    this.#pack = undefined;
    const sizeBytes = await writer.seal();
    const segments = writer.written.map(({ offset, frameLengths, frameChecksums }, position) => {
      const entry = entries[position];
      if (entry === undefined) throw new RangeError(`pack ${writer.packId}: segment ${position} has no entry`);
      return { ...entry, offset, frameLengths, frameChecksums };
    });
    try {
      await index.registerPack({ packId: writer.packId, sizeBytes, segments }, this.request.domainId, this.holder);
    } catch (error) {
      // This attempt has been replaced: nobody else knows the file it has written.
      if (error instanceof StaleAttemptError) await az.removePack(writer.packId);
      throw error;
    }
    this.#heldNow += segments.length;
    await this.#holdWaiters(segments);
    this.#report();
  }

  async #holdWaiters(stored: readonly LookupEntry[]): Promise<void> {
    const waiters = stored.flatMap(({ key }) => this.#waiters.get(nameOf(key)) ?? []);
    for (let from = 0; from < waiters.length; from += WINDOW) {
      const some = waiters.slice(from, from + WINDOW);
      const held = await this.parts.index.holdStored(this.holder, this.request.domainId, some);
      if (held.size !== some.length)
        throw new RangeError(`receive of job ${this.holder.jobId}: a held segment has gone`);
      this.#heldNow += some.length;
    }
  }

  #report(): void {
    const { virtualSizeBytes, dataSegments } = this.manifest;
    const bytesOf = (segments: number): number => Math.min(segments * SEGMENT_BYTES, virtualSizeBytes);
    this.request.onProgress({
      // Only what is durable counts, so a restart never goes back.
      bytesDone: bytesOf(this.#heldNow),
      bytesTotal: bytesOf(dataSegments.length),
      bytesWritten: this.#bytesWritten,
    });
  }
}

interface Asked {
  missing: Missing;
  want: Want;
  /** The base, decoded; becomes the segment. */
  plain?: Buffer;
}

/** Guest bytes of what was sent; who sent it is not trusted to have said what it should. */
function segmentOf(sent: SentSegment, base: Buffer | undefined): Buffer {
  if (sent.kind === 'leaves') {
    if (base === undefined) throw new ExchangeError(`answer: segment ${sent.index} came as leaves of no base`);
    applyLeaves(base, sent);
    return base;
  }
  const plain = Buffer.allocUnsafe(SEGMENT_BYTES);
  try {
    for (const [frame, bytes] of sent.frames.entries())
      decompressFrame(bytes, `sent segment ${sent.index}: frame ${frame}`, plain.subarray(frame * FRAME_BYTES));
  } catch (cause) {
    if (!(cause instanceof StoredBytesDamagedError)) throw cause;
    throw new ExchangeError(`answer: ${cause.message}`, { cause });
  }
  return plain;
}
