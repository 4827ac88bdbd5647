import type { ByteSource } from '@ims/buckets';

/** A piece of guest bytes that lies uncompressed in the file. */
export interface HostRun {
  hostOffset: number;
  targetOffset: number;
  length: number;
}

// Enough to hide a store's latency on scattered clusters, few enough to leave the other threads their share.
const PARALLEL_READS = 8;

/** Adds a run, merged with the one before when both file and guest go on without a gap: neighbouring clusters become one read. */
export function pushRun(runs: HostRun[], run: HostRun): void {
  const last = runs.at(-1);
  if (
    last !== undefined &&
    last.hostOffset + last.length === run.hostOffset &&
    last.targetOffset + last.length === run.targetOffset
  )
    last.length += run.length;
  else runs.push({ ...run });
}

/** Reads every run into its place in `target`. */
export async function readRuns(
  source: ByteSource,
  runs: readonly HostRun[],
  target: Uint8Array,
  signal?: AbortSignal,
): Promise<void> {
  await inParallel(runs, (run) =>
    source.read(run.hostOffset, target.subarray(run.targetOffset, run.targetOffset + run.length), signal),
  );
}

/** Runs the work on all items, a few at a time; the first failure is thrown after those under way have ended. */
export async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const [only] = items;
  if (items.length === 1 && only !== undefined) return work(only);
  let next = 0;
  const lane = async (): Promise<void> => {
    for (;;) {
      const item = items[next++];
      if (item === undefined) return;
      await work(item);
    }
  };
  const lanes = await Promise.allSettled(Array.from({ length: Math.min(PARALLEL_READS, items.length) }, lane));
  for (const result of lanes) if (result.status === 'rejected') throw result.reason;
}
