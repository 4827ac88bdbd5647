import type { VerifiedDisk } from '@ims/contract';
import type { Manifest } from '../layout/manifest';
import { SEGMENT_BYTES } from '../layout/segment';
import type { AzStore } from '../placement/az-store.port';
import type { StoreThreads } from '../threads/store-threads';
import type { SegmentUnit, VerifyWork } from '../threads/thread-protocol';
import type { Domains } from './domains';
import type { SegmentIndex } from './segment-index';
import { segmentUnits, UNIT } from './segment-units';

export interface StoreParts {
  az: AzStore;
  index: SegmentIndex;
  domains: Domains;
  threads: StoreThreads;
}

/** Reads every distinct segment of a manifest back on all threads (fault-matrix I3). The manifest's own hash and roots are checked already. */
export async function verify(
  { az, index, domains, threads }: StoreParts,
  { domainId, manifest }: { domainId: string; manifest: Manifest },
  { signal, onProgress }: { signal: AbortSignal; onProgress(bytesDone: number, bytesTotal: number): void },
): Promise<VerifiedDisk> {
  const total = manifest.dataSegments.length;
  const bytesOf = (segments: number): number => Math.min(segments * SEGMENT_BYTES, manifest.virtualSizeBytes);
  const positions = Uint32Array.from({ length: total }, (_, position) => position);
  const domain = await domains.open(domainId);
  const units = segmentUnits(index, domain, manifest, positions);
  // Lanes ask at the same time; a generator answers one after the other.
  let done = 0;
  const handlers = {
    nextUnit: async ({ done: verified }: { done: number }): Promise<SegmentUnit | null> => {
      done += verified;
      if (verified > 0) onProgress(bytesOf(done), bytesOf(total));
      // A key that was switched off ends what is read under it (ENC-05).
      if (domain.seal !== undefined) await domains.open(domainId);
      const next = await units.next();
      return next.done === true ? null : next.value;
    },
  };
  if (total > 0) {
    const lanes: VerifyWork[] = [];
    for (let lane = Math.min(threads.size, Math.ceil(total / UNIT)); lane > 0; lane -= 1)
      lanes.push({ kind: 'verify', az: az.descriptor, ...(await domains.forThread(domainId)) });
    await threads.run(lanes, handlers, signal);
  }
  onProgress(bytesOf(total), bytesOf(total));
  return { segmentsVerified: total, contentRoot: manifest.contentRoot.toString('hex') };
}
