import type { IngestedDisk } from '@ims/contract';
import type { CopyRequest } from '../image-store.port';
import type { Manifest } from '../layout/manifest';
import type { CopyWork, LookupEntry, SegmentUnit } from '../threads/thread-protocol';
import { storageKey } from '../layout/segment';
import { StoredBytesDamagedError } from '../errors';
import { type Arrival, holderOf, IngestSession, settleOpenPacks, writeManifest } from './ingest';
import { segmentUnits, UNIT } from './segment-units';
import type { StoreParts } from './verify';

// Segments held with one statement where no byte moves.
const HOLD_STEP = 4096;

/**
 * Stores a stored disk in a domain. Between domains frames are unsealed and sealed as they are; a segment that the target has is not even read. Resumes
 * like an ingest: what the job holds is done.
 */
export async function copy(parts: StoreParts, request: CopyRequest, manifest: Manifest): Promise<IngestedDisk> {
  const { az, index, domains, threads } = parts;
  const { jobId, domainId, from, signal } = request;
  const { virtualSizeBytes } = manifest;
  const arrival: Arrival = { ...request, virtualSizeBytes };
  signal.throwIfAborted();
  await settleOpenPacks(parts, jobId);
  const held = await index.heldIndexes(holderOf(request), domainId);
  const positions = Uint32Array.from({ length: manifest.dataSegments.length }, (_, position) => position).filter(
    (position) => !held.has(manifest.dataSegments[position] ?? 0),
  );
  const { dataSegments } = manifest;
  const session = new IngestSession(parts, arrival, dataSegments.length, held.size, positions.length, from.domainId);
  if (from.domainId === domainId) await holdAll(parts, request, manifest, positions);
  else if (positions.length > 0) {
    const units = segmentUnits(index, await domains.open(from.domainId), manifest, positions);
    const lanes: CopyWork[] = [];
    for (let lane = Math.min(threads.size, Math.ceil(positions.length / UNIT)); lane > 0; lane -= 1) {
      lanes.push({
        kind: 'copy',
        az: az.descriptor,
        from: await domains.forThread(from.domainId),
        ...(await domains.forThread(domainId)),
        counters: session.counters,
      });
    }
    const handlers = {
      ...session.handlers,
      nextUnit: async (): Promise<SegmentUnit | null> => {
        // A key that was switched off ends what is read under it (ENC-05).
        await domains.open(from.domainId);
        const next = await units.next();
        return next.done === true ? null : next.value;
      },
    };
    await session.run((until) => threads.run(lanes, handlers, until));
  }
  if (from.domainId !== domainId) session.report();
  return writeManifest(parts, holderOf(request), { domainId, virtualSizeBytes });
}

/** The same segments under another job: nothing is read or written but rows. */
async function holdAll(
  { index, domains }: StoreParts,
  request: CopyRequest,
  manifest: Manifest,
  positions: Uint32Array,
): Promise<void> {
  const { domainId, signal, onProgress } = request;
  const { secret } = await domains.open(domainId);
  for (let from = 0; from < positions.length; from += HOLD_STEP) {
    signal.throwIfAborted();
    const entries = [...positions.subarray(from, from + HOLD_STEP)].map((position): LookupEntry => {
      const root = manifest.rootAt(position);
      return { index: manifest.dataSegments[position] ?? 0, root, key: storageKey(secret, root) };
    });
    const stored = await index.holdStored(holderOf(request), domainId, entries);
    if (stored.size !== entries.length)
      throw new StoredBytesDamagedError(
        `manifest ${manifest.hash}: ${entries.length - stored.size} segments are not stored`,
      );
  }
  onProgress({ bytesDone: manifest.virtualSizeBytes, bytesTotal: manifest.virtualSizeBytes, bytesWritten: 0 });
}
