import { setImmediate as nextTurn } from 'node:timers/promises';
import { openDisk, type DiskReader } from '@ims/image-format';
import { compressSegment, SEGMENT_BOUND_BYTES } from '../layout/frame';
import { DomainSeal } from '../layout/seal';
import {
  HASH_BYTES,
  hashLeaves,
  isZero,
  LEAVES_PER_SEGMENT,
  SEGMENT_BYTES,
  segmentRoot,
  storageKey,
} from '../layout/segment';
import { openAz } from '../placement/directory-az';
import { LanePacks } from './lane-packs';
import { type AskOwner, COUNTER, type IngestWork, type LookupEntry } from './thread-protocol';

// Segments looked up with one query. While its answer is under way the lane reads and hashes the next batch, which takes 6 to 10 ms,
// longer than a query.
const BATCH = 6;
// Reads under way while a batch is compressed (about 30 ms): enough for a cold source at the disk's speed.
const READ_AHEAD = 4;

interface Slot {
  bytes: Buffer;
  leaves: Buffer;
}
interface Reading extends Slot {
  index: number;
  done: Promise<void>;
}
interface Hashed extends Slot, LookupEntry {
  root: Buffer;
  key: Buffer;
}

/**
 * Every step of an ingest on this thread's own buffers: read, zero test, hash, look up, compress, pack (design 3.5). The next segment comes
 * from a counter shared by all lanes. Reads and look-ups are always under way while something is hashed or compressed.
 */
export async function runIngestLane(work: IngestWork, ask: AskOwner, signal: AbortSignal): Promise<void> {
  const seal = work.dataKey === undefined ? undefined : new DomainSeal(work.domainId, work.dataKey);
  work.dataKey?.fill(0);
  const reader = await openDisk(work.disk).catch((error: unknown) => {
    seal?.wipe();
    throw error;
  });
  const packs = new LanePacks(openAz(work.az), { ...work, seal }, ask);
  const source = new SegmentQueue(work, seal, reader, signal);
  // Frames lie here until they are in the pack.
  const room = Buffer.allocUnsafeSlow(SEGMENT_BOUND_BYTES);
  try {
    let asked: { batch: Hashed[]; answer: Promise<number[]> } | undefined;
    do {
      const batch = await source.nextBatch();
      const next =
        batch.length === 0
          ? undefined
          : {
              batch,
              answer: ask(
                'lookup',
                batch.map(({ index, root, key }) => ({ index, root, key })),
              ),
            };
      if (asked !== undefined) {
        const missing = new Set(await asked.answer);
        for (const segment of asked.batch) {
          if (missing.has(segment.index)) {
            await packs.write({ ...segment, frames: compressSegment(segment.bytes, room) });
            // Lanes of other jobs on this thread, answers and reads get their turn.
            await nextTurn();
          }
          signal.throwIfAborted();
          source.release(segment);
        }
      }
      asked = next;
    } while (asked !== undefined);
    await packs.finish();
  } finally {
    await packs.close();
    await source.settle();
    await reader.close();
    seal?.wipe();
  }
}

/** Takes segment numbers from the shared counter and keeps reads ahead of the caller. */
class SegmentQueue {
  private readonly segments: Uint32Array;
  private readonly counters: Int32Array;
  private readonly free: Slot[] = [];
  private readonly reading: Reading[] = [];
  private slots = 0;

  constructor(
    private readonly work: IngestWork,
    private readonly seal: DomainSeal | undefined,
    private readonly reader: DiskReader,
    private readonly signal: AbortSignal,
  ) {
    this.segments = new Uint32Array(work.segments);
    this.counters = new Int32Array(work.counters);
  }

  /** Up to `BATCH` segments that hold data, read and hashed; empty when there are no more. */
  async nextBatch(): Promise<Hashed[]> {
    const batch: Hashed[] = [];
    while (batch.length < BATCH) {
      this.readAhead();
      const current = this.reading.shift();
      if (current === undefined) break;
      await current.done;
      this.readAhead();
      const { index, bytes, leaves } = current;
      if (isZero(bytes)) {
        Atomics.add(this.counters, COUNTER.zeroSegments, 1);
        this.release(current);
        continue;
      }
      hashLeaves(bytes, leaves);
      const plainRoot = segmentRoot(leaves);
      const root = this.seal?.nameOf(plainRoot) ?? plainRoot;
      batch.push({ index, bytes, leaves, root, key: storageKey(this.work.domainSecret, root) });
    }
    return batch;
  }

  release({ bytes, leaves }: Slot): void {
    this.free.push({ bytes, leaves });
  }

  /** Waits for reads under way: a buffer may not be given back while the kernel fills it. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.reading.map(({ done }) => done));
  }

  private readAhead(): void {
    while (this.reading.length < READ_AHEAD) {
      const slot = this.takeSlot();
      if (slot === undefined) return;
      const index = this.segments[Atomics.add(this.counters, COUNTER.next, 1)];
      if (index === undefined) {
        // Not counted on for ever: the counter is 32 bits wide.
        Atomics.store(this.counters, COUNTER.next, this.segments.length);
        this.free.push(slot);
        return;
      }
      const done = this.reader.read(index * SEGMENT_BYTES, slot.bytes, this.signal);
      // Awaited when its turn comes; until then a failed read is not an unhandled one.
      done.catch(() => undefined);
      this.reading.push({ ...slot, index, done });
    }
  }

  private takeSlot(): Slot | undefined {
    const slot = this.free.pop();
    // Two batches (one hashed, one being written) and the reads ahead of them: all the memory a lane ever takes.
    if (slot !== undefined || this.slots === 2 * BATCH + READ_AHEAD) return slot;
    this.slots += 1;
    return {
      bytes: Buffer.allocUnsafeSlow(SEGMENT_BYTES),
      leaves: Buffer.allocUnsafeSlow(LEAVES_PER_SEGMENT * HASH_BYTES),
    };
  }
}
