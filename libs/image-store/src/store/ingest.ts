import { randomUUID } from 'node:crypto';
import { SourceChangedError } from '@ims/buckets';
import { CONTENT, type IngestedDisk, type JobId } from '@ims/contract';
import { openDisk } from '@ims/image-format';
import { StaleAttemptError, StoredBytesDamagedError } from '../errors';
import type { IngestRequest } from '../image-store.port';
import { Manifest, manifestName } from '../layout/manifest';
import { type PackedSegment, sealBytesOf } from '../layout/pack-format';
import { SEGMENT_BYTES, segmentCountOf, segmentRoot, storageKey } from '../layout/segment';
import type { AzStore } from '../placement/az-store.port';
import { PackReader } from '../placement/pack-reader';
import { ThreadError } from '../threads/store-threads';
import { COUNTER, COUNTER_BYTES, type IngestWork, type LookupEntry, type SealedPack } from '../threads/thread-protocol';
import type { Domains } from './domains';
import type { Holder } from './segment-index';
import { takeOver } from './take-over';
import type { StoreParts } from './verify';
import { zvhd2LayoutOf } from './zvhd2-form';

// Progress is told this often while nothing is sealed (image-store.port).
const PROGRESS_MS = 1000;

/** A disk on its way into the store, whatever it is read from. */
export type Arrival = Pick<IngestRequest, 'jobId' | 'domainId' | 'part' | 'onProgress' | 'signal'> & {
  virtualSizeBytes: number;
};

export const holderOf = ({ jobId, part = CONTENT }: Pick<Arrival, 'jobId' | 'part'>): Holder => ({ jobId, part });

/** Runs one ingest (design 3.5). Everything that must survive a crash is in the index: holds are the resume position. */
export async function ingest(parts: StoreParts, request: IngestRequest): Promise<IngestedDisk> {
  const { az, index, domains, threads } = parts;
  const { jobId, domainId, disk, signal } = request;
  signal.throwIfAborted();
  const arrival: Arrival = { ...request, virtualSizeBytes: disk.virtualSizeBytes };
  await settleOpenPacks(parts, jobId);
  const taken = await takeOver(parts, request, holderOf(request));
  const held = await index.heldIndexes(holderOf(request), domainId);
  const wanted = (await dataSegments(request)).filter((segment) => !taken.isKnownZero(segment));
  const missing = wanted.filter((segment) => !held.has(segment));
  const session = new IngestSession(parts, arrival, wanted.length, held.size, missing.length);
  if (missing.length > 0) {
    const segments = new SharedArrayBuffer(missing.length * Uint32Array.BYTES_PER_ELEMENT);
    new Uint32Array(segments).set(missing);
    const lanes: IngestWork[] = [];
    for (let lane = Math.min(threads.size, missing.length); lane > 0; lane -= 1) {
      const domain = await domains.forThread(domainId);
      lanes.push({ kind: 'ingest', az: az.descriptor, disk, ...domain, segments, counters: session.counters });
    }
    try {
      await session.run((until) => threads.run(lanes, session.handlers, until));
    } catch (error) {
      throw ofSource(error, request);
    }
  }
  session.report();
  const stored = await writeManifest(parts, holderOf(request), { domainId, virtualSizeBytes: disk.virtualSizeBytes });
  // Whichever attempt it was that read them.
  const bytesRead = Math.min((wanted.length - taken.count) * SEGMENT_BYTES, disk.virtualSizeBytes);
  return { ...stored, bytesRead, segmentsTakenOver: taken.count };
}

/** Numbers of the segments that may hold data, ascending. Holes are never read. */
async function dataSegments({ disk, signal }: IngestRequest): Promise<Uint32Array> {
  const reader = await openDisk(disk);
  try {
    const limit = segmentCountOf(reader.virtualSizeBytes);
    let found = new Uint32Array(1024);
    let count = 0;
    let next = 0;
    for await (const { offset, length } of reader.extents(signal)) {
      if (length <= 0) continue;
      const end = Math.min(limit, Math.ceil((offset + length) / SEGMENT_BYTES));
      next = Math.max(next, Math.floor(offset / SEGMENT_BYTES));
      if (count + end - next > found.length) {
        const larger = new Uint32Array(Math.max(found.length * 2, count + end - next));
        larger.set(found);
        found = larger;
      }
      while (next < end) found[count++] = next++;
    }
    return found.subarray(0, count);
  } finally {
    await reader.close();
  }
}

interface Claim {
  /** Segments with the same content that came up before the first one was registered. */
  waiters: LookupEntry[];
}

/** The owner's side of the lanes: look-ups, packs, progress. */
export class IngestSession {
  readonly counters = new SharedArrayBuffer(COUNTER_BYTES);
  private readonly counts = new Int32Array(this.counters);
  /** By storage key; only of segments whose pack is not registered yet, so it stays small. */
  private readonly claims = new Map<string, Claim>();
  /** Packs whose row exists and whose file may. */
  private readonly unregistered = new Set<string>();
  private heldNow = 0;
  private bytesDone = 0;

  constructor(
    private readonly parts: StoreParts,
    private readonly request: Arrival,
    private readonly wanted: number,
    private readonly heldBefore: number,
    private readonly missing: number,
    /** What the lanes read is sealed with, if that is another domain's. */
    private readonly fromDomainId?: string,
  ) {}

  readonly handlers = {
    lookup: (entries: LookupEntry[]): Promise<number[]> => this.lookup(entries),
    openPack: async (): Promise<string> => {
      // A key that was switched off ends what is written under it (ENC-05).
      await this.parts.domains.open(this.request.domainId);
      const packId = randomUUID();
      await this.parts.index.createPack(packId, this.request.domainId, this.request.jobId);
      this.unregistered.add(packId);
      return packId;
    },
    sealed: async (pack: SealedPack): Promise<null> => {
      await this.parts.index.registerPack(pack, this.request.domainId, holderOf(this.request));
      this.unregistered.delete(pack.packId);
      this.heldNow += pack.segments.length;
      await this.holdWaiters(pack.segments.map(({ key }) => nameOf(key)));
      this.report();
      return null;
    },
  };

  /**
   * Runs the lanes until they are done or `signal` tells them to let go, and tells of progress meanwhile; what was begun by an attempt that has been
   * replaced is removed.
   */
  async run(lanes: (signal: AbortSignal) => Promise<void>): Promise<void> {
    const keyed = await this.keyedDomains();
    const letGo = new AbortController();
    const timer = setInterval(() => {
      this.report();
      // A lane of a slow source may open no pack for minutes, and a key that was switched off ends its work all the same (ENC-05).
      Promise.all(keyed.map((id) => this.parts.domains.open(id))).catch((error: unknown) => letGo.abort(error));
    }, PROGRESS_MS);
    try {
      await lanes(AbortSignal.any([this.request.signal, letGo.signal]));
    } catch (error) {
      if (error instanceof StaleAttemptError) await this.removeUnregistered();
      throw error;
    } finally {
      clearInterval(timer);
    }
    await this.finish();
  }

  report(): void {
    const zeros = Atomics.load(this.counts, COUNTER.zeroSegments);
    const { virtualSizeBytes } = this.request;
    const bytesOf = (segments: number): number => Math.min(segments * SEGMENT_BYTES, virtualSizeBytes);
    // Only what is durable counts, so a restart never goes back; what turns out to read as zeros leaves the total.
    this.bytesDone = Math.max(this.bytesDone, bytesOf(this.heldBefore + this.heldNow));
    this.request.onProgress({
      bytesDone: this.bytesDone,
      bytesTotal: bytesOf(this.wanted - zeros),
      bytesWritten: Atomics.load(this.counts, COUNTER.kibibytesWritten) * 1024,
    });
  }

  private async keyedDomains(): Promise<string[]> {
    const { domains } = this.parts;
    const keyed: string[] = [];
    for (const id of new Set([this.request.domainId, this.fromDomainId ?? this.request.domainId]))
      if (await domains.isKeyed(id)) keyed.push(id);
    return keyed;
  }

  /** Removes ids that were kept in reserve and checks that nothing was left out. */
  private async finish(): Promise<void> {
    await this.parts.index.forgetOpenPacks([...this.unregistered]);
    const done = this.heldNow + Atomics.load(this.counts, COUNTER.zeroSegments);
    if (done !== this.missing)
      throw new RangeError(`ingest of job ${this.request.jobId}: ${done} of ${this.missing} segments came back`);
  }

  /** This attempt has been replaced: nobody else knows the files it was writing. */
  private async removeUnregistered(): Promise<void> {
    for (const packId of this.unregistered) await this.parts.az.removePack(packId);
    await this.parts.index.forgetOpenPacks([...this.unregistered]);
  }

  private async lookup(entries: readonly LookupEntry[]): Promise<number[]> {
    const first: LookupEntry[] = [];
    for (const entry of entries) {
      const claim = this.claims.get(nameOf(entry.key));
      if (claim !== undefined) claim.waiters.push(entry);
      else {
        // Claimed before the query: no two lanes ever get to write the same content.
        this.claims.set(nameOf(entry.key), { waiters: [] });
        first.push(entry);
      }
    }
    const stored = await this.parts.index.holdStored(holderOf(this.request), this.request.domainId, first);
    this.heldNow += stored.size;
    await this.holdWaiters(first.filter(({ index }) => stored.has(index)).map(({ key }) => nameOf(key)));
    return first.filter(({ index }) => !stored.has(index)).map(({ index }) => index);
  }

  /** These keys are stored and held by the job: whoever waited for them is held too. */
  private async holdWaiters(names: readonly string[]): Promise<void> {
    const waiters = names.flatMap((name) => this.claims.get(name)?.waiters ?? []);
    for (const name of names) this.claims.delete(name);
    // As many as one look-up carries without growing a statement without bound.
    const step = 4096;
    for (let from = 0; from < waiters.length; from += step) {
      const part = waiters.slice(from, from + step);
      const heldNow = await this.parts.index.holdStored(holderOf(this.request), this.request.domainId, part);
      if (heldNow.size !== part.length)
        throw new RangeError(`ingest of job ${this.request.jobId}: a held segment has gone`);
      this.heldNow += part.length;
    }
  }
}

/** @internal A storage key as the key of a map. */
export const nameOf = (key: Uint8Array): string =>
  Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');

/**
 * What a dead attempt left: a pack that was written to its end but not registered is adopted when every byte of it checks and each segment is
 * named by the root of its leaves; everything else is removed. Segments of an adopted pack are found by the look-ups and not written again.
 */
export async function settleOpenPacks(
  { az, index, domains }: Pick<StoreParts, 'az' | 'index' | 'domains'>,
  jobId: JobId,
): Promise<void> {
  for (const { id, domainId } of await index.openPacksOf(jobId)) {
    const adoptable = await readAdoptable(az, id, domainId, domains);
    if (adoptable !== undefined) {
      try {
        await index.adoptPack(adoptable, domainId);
      } catch (error) {
        // The attempt that wrote it was not dead and has just registered it itself.
        if (!(error instanceof StaleAttemptError)) throw error;
      }
      continue;
    }
    // The row last: as long as there is a file there is a row that explains it.
    await az.removePack(id);
    await index.forgetOpenPacks([id]);
  }
}

async function readAdoptable(
  az: AzStore,
  packId: string,
  domainId: string,
  domains: Domains,
): Promise<{ packId: string; sizeBytes: number; segments: PackedSegment[] } | undefined> {
  let pack: PackReader | undefined;
  try {
    // Killed while the pack was being made durable: its bytes may all be there.
    await az.finishPack(packId);
    pack = await PackReader.open(az, packId);
    if (pack === undefined || pack.domainId !== domainId) return undefined;
    // After a power failure a footer may be there and frames before it not.
    await pack.checkBlocks();
    const { secret, seal } = await domains.open(domainId);
    if (pack.isSealed !== (seal !== undefined)) return undefined;
    const isNamedRight = pack.segments.every(({ key, leaves: stored }) => {
      const leaves = seal?.segment(key).openLeaves(stored, `pack ${packId}: leaf hashes`) ?? stored;
      const root = segmentRoot(leaves);
      return storageKey(secret, seal?.nameOf(root) ?? root).equals(key);
    });
    return isNamedRight ? { packId, sizeBytes: pack.sizeBytes, segments: [...pack.segments] } : undefined;
  } catch (error) {
    // A damaged leftover is worth nothing: what it held is written again.
    if (error instanceof StoredBytesDamagedError) return undefined;
    throw error;
  } finally {
    await pack?.close();
  }
}

/** Writes the manifest object from what the job holds; the row comes first so that the object is never unknown. */
export async function writeManifest(
  { az, index, domains }: Pick<StoreParts, 'az' | 'index' | 'domains'>,
  holder: Holder,
  { domainId, virtualSizeBytes }: { domainId: string; virtualSizeBytes: number },
): Promise<IngestedDisk> {
  const segments: { index: number; root: Buffer; storedBytes: number }[] = [];
  for await (const { index: at, root, storedBytes } of index.heldSegments(holder, domainId)) {
    segments.push({ index: at, root, storedBytes });
  }
  const manifest = Manifest.of(virtualSizeBytes, segments);
  const { seal } = await domains.open(domainId);
  const stored = seal?.sealManifest(manifest.bytes) ?? manifest.bytes;
  const manifestHash = manifestName(stored);
  const plainSegments = segments.map(({ index: at, storedBytes }) => ({
    index: at,
    storedBytes: storedBytes - sealBytesOf(seal !== undefined),
  }));
  const segmentCount = segments.length;
  await index.holdManifest(holder, { domainId, hash: manifestHash, virtualSizeBytes, segmentCount });
  await az.writeManifest(domainId, manifestHash, stored);
  return {
    domainId,
    manifestHash,
    contentRoot: manifest.contentRoot.toString('hex'),
    virtualSizeBytes,
    segmentCount,
    storedBytes: await index.heldStoredBytes(holder, domainId),
    fileBytes: zvhd2LayoutOf(manifestHash, virtualSizeBytes, plainSegments).sizeBytes,
  };
}

/** Errors lose their class on the way out of a thread; callers tell these by class. */
function ofSource(error: unknown, { disk }: IngestRequest): unknown {
  if (error instanceof ThreadError && error.name === 'SourceChangedError' && disk.reader !== 'nbd') {
    return new SourceChangedError(disk.source.file.bucket, disk.source.file.key, { cause: error });
  }
  return error;
}
