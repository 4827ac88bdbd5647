import type { VerifiedDisk } from '@ims/contract';
import { StoredBytesDamagedError } from '../errors';
import type { Manifest } from '../layout/manifest';
import { SEGMENT_BYTES, storageKey } from '../layout/segment';
import type { AzStore } from '../placement/az-store.port';
import type { StoreThreads } from '../threads/store-threads';
import type { VerifyUnit, VerifyWork } from '../threads/thread-protocol';
import type { SegmentIndex } from './segment-index';

// Segments located with one query and sorted by place: large enough that packs are read in long runs, small enough to stay flat in memory.
const WINDOW = 512;
// Segments of one unit: about 8 MiB stored. Smaller ones share out better at the end, larger ones seek less.
const UNIT = 16;

/** Reads every distinct segment of a manifest back on all threads (fault-matrix I3). The manifest's own hash and roots are checked already. */
export async function verify(
  { az, index, threads }: { az: AzStore; index: SegmentIndex; threads: StoreThreads },
  { domainId, manifest }: { domainId: string; manifest: Manifest },
  { signal, onProgress }: { signal: AbortSignal; onProgress(bytesDone: number, bytesTotal: number): void },
): Promise<VerifiedDisk> {
  const total = manifest.dataSegments.length;
  const bytesOf = (segments: number): number => Math.min(segments * SEGMENT_BYTES, manifest.virtualSizeBytes);
  const units = verifyUnits(index, domainId, manifest);
  // Lanes ask at the same time; a generator answers one after the other.
  let done = 0;
  const handlers = {
    nextUnit: async ({ verified }: { verified: number }): Promise<VerifyUnit | null> => {
      done += verified;
      if (verified > 0) onProgress(bytesOf(done), bytesOf(total));
      const next = await units.next();
      return next.done === true ? null : next.value;
    },
  };
  if (total > 0) {
    const work: VerifyWork = { kind: 'verify', az: az.descriptor, domainId };
    const lanes = Array.from({ length: Math.min(threads.size, Math.ceil(total / UNIT)) }, () => work);
    await threads.run(lanes, handlers, signal);
  }
  onProgress(bytesOf(total), bytesOf(total));
  return { segmentsVerified: total, contentRoot: manifest.contentRoot.toString('hex') };
}

async function* verifyUnits(index: SegmentIndex, domainId: string, manifest: Manifest): AsyncGenerator<VerifyUnit> {
  const secret = await index.domainSecret(domainId);
  for (let from = 0; from < manifest.dataSegments.length; from += WINDOW) {
    const wanted = new Map<string, { key: Buffer; root: Buffer; count: number }>();
    for (let position = from; position < Math.min(from + WINDOW, manifest.dataSegments.length); position += 1) {
      const root = manifest.rootAt(position);
      const key = storageKey(secret, root);
      const seen = wanted.get(key.toString('latin1'));
      if (seen === undefined) wanted.set(key.toString('latin1'), { key, root, count: 1 });
      else seen.count += 1;
    }
    const places = await index.locate(
      domainId,
      [...wanted.values()].map(({ key }) => key),
    );
    if (places.length !== wanted.size) {
      const found = new Set(places.map(({ key }) => key.toString('latin1')));
      const missing = [...wanted.values()].find(({ key }) => !found.has(key.toString('latin1')));
      throw new StoredBytesDamagedError(
        `manifest ${manifest.hash}: ${wanted.size - places.length} segments are not stored, first ${missing?.key.toString('hex')}`,
      );
    }
    const byPack = Map.groupBy(
      places.toSorted((a, b) => a.offset - b.offset),
      ({ packId }) => packId,
    );
    for (const [packId, inPack] of byPack) {
      for (let at = 0; at < inPack.length; at += UNIT) {
        yield {
          packId,
          segments: inPack.slice(at, at + UNIT).map(({ key, offset, frameLengths, frameChecksums }) => {
            const asked = wanted.get(key.toString('latin1'));
            if (asked === undefined)
              throw new RangeError(`located segment ${key.toString('hex')}, which nobody asked for`);
            return { root: Buffer.from(asked.root), key, offset, frameLengths, frameChecksums, count: asked.count };
          }),
        };
      }
    }
  }
}
