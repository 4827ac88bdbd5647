import type { ByteSource } from '@ims/buckets';

/** A piece of guest bytes that lies uncompressed in the file. */
export interface HostRun {
  hostOffset: number;
  targetOffset: number;
  length: number;
}

// Enough to hide a store's latency on scattered clusters, few enough to leave the other threads their share.
const PARALLEL_READS = 8;
// Compressed clusters lie back to back; a gap below one uncompressed cluster of the usual size is cheaper to read over than to seek.
const MAX_GAP_BYTES = 64 * 1024;
// Upper bound of one gathered read of compressed clusters, so that memory follows our number and not the file's.
const MAX_GATHER_BYTES = 4 * 1024 * 1024;

/** A cluster that lies compressed in the file. */
export interface CompressedCluster {
  hostOffset: number;
  /** Upper bound of its length in the file. */
  hostBytes: number;
  /** Guest offset of the whole cluster. */
  guestOffset: number;
  /** Where the wanted bytes start inside the decompressed cluster. */
  inCluster: number;
  targetOffset: number;
  length: number;
}

/** Compressed clusters near enough to each other to be read at once. */
export interface CompressedGroup {
  hostOffset: number;
  hostBytes: number;
  clusters: CompressedCluster[];
}

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

/** Adds a compressed cluster, to the group before when it lies close behind in the file. */
export function pushCompressed(groups: CompressedGroup[], cluster: CompressedCluster): void {
  const last = groups.at(-1);
  const end = cluster.hostOffset + cluster.hostBytes;
  if (
    last !== undefined &&
    cluster.hostOffset >= last.hostOffset &&
    cluster.hostOffset <= last.hostOffset + last.hostBytes + MAX_GAP_BYTES &&
    end - last.hostOffset <= MAX_GATHER_BYTES
  ) {
    last.hostBytes = Math.max(last.hostBytes, end - last.hostOffset);
    last.clusters.push(cluster);
  } else groups.push({ hostOffset: cluster.hostOffset, hostBytes: cluster.hostBytes, clusters: [cluster] });
}

/** Reads each group at once and puts the wanted part of every cluster into its place; `unpack` gives the whole plain cluster. */
export async function readCompressed(
  source: ByteSource,
  groups: readonly CompressedGroup[],
  unpack: (stored: Buffer, cluster: CompressedCluster) => Buffer,
  target: Uint8Array,
  signal?: AbortSignal,
): Promise<void> {
  await inParallel(groups, async (group) => {
    const bytes = Buffer.allocUnsafe(group.hostBytes);
    await source.read(group.hostOffset, bytes, signal);
    for (const cluster of group.clusters) {
      const start = cluster.hostOffset - group.hostOffset;
      const plain = unpack(bytes.subarray(start, start + cluster.hostBytes), cluster);
      target.set(plain.subarray(cluster.inCluster, cluster.inCluster + cluster.length), cluster.targetOffset);
    }
  });
}
