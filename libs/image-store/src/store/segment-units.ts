import { StoredBytesDamagedError } from '../errors';
import type { Manifest } from '../layout/manifest';
import { storageKey } from '../layout/segment';
import type { SegmentUnit } from '../threads/thread-protocol';
import type { OpenedDomain } from './domains';
import type { SegmentIndex } from './segment-index';

// Segments located with one query and sorted by place: large enough that packs are read in long runs, small enough to stay flat in memory.
const WINDOW = 512;
/** Segments of one unit: about 8 MiB stored. Smaller ones share out better at the end, larger ones seek less. */
export const UNIT = 16;

/**
 * The segments of a stored disk by where they lie, those at the given positions among its data segments. Throws `StoredBytesDamagedError` when one is
 * not stored.
 */
export async function* segmentUnits(
  index: SegmentIndex,
  { id: domainId, secret }: Pick<OpenedDomain, 'id' | 'secret'>,
  manifest: Manifest,
  positions: Uint32Array,
): AsyncGenerator<SegmentUnit> {
  for (let from = 0; from < positions.length; from += WINDOW) {
    const wanted = new Map<string, { key: Buffer; root: Buffer; indexes: number[] }>();
    for (const position of positions.subarray(from, from + WINDOW)) {
      const root = manifest.rootAt(position);
      const key = storageKey(secret, root);
      const segment = manifest.dataSegments[position] ?? 0;
      const seen = wanted.get(key.toString('latin1'));
      if (seen === undefined) wanted.set(key.toString('latin1'), { key, root, indexes: [segment] });
      else seen.indexes.push(segment);
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
          segments: inPack.slice(at, at + UNIT).map(({ packId: _, ...place }) => {
            const asked = wanted.get(place.key.toString('latin1'));
            if (asked === undefined)
              throw new RangeError(`located segment ${place.key.toString('hex')}, which nobody asked for`);
            return { ...place, root: Buffer.from(asked.root), indexes: asked.indexes };
          }),
        };
      }
    }
  }
}
