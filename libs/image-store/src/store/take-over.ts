import { ManifestNotFoundError, StoredBytesDamagedError } from '../errors';
import type { IngestRequest } from '../image-store.port';
import type { Manifest } from '../layout/manifest';
import { SEGMENT_BYTES, segmentCountOf, storageKey } from '../layout/segment';
import { readManifest } from './read-manifest';
import type { Holder } from './segment-index';
import type { StoreParts } from './verify';

// Looked up and held by one statement: a disk of two terabytes takes 256 of them.
const BATCH = 4096;

/** What of a disk need not be read, because a stored disk has it. */
export interface TakenOver {
  /** Segments that the job holds now by the base's word. */
  count: number;
  /** The base has no data there and nothing has changed: there is nothing to read. */
  isKnownZero(segment: number): boolean;
}

const NOTHING: TakenOver = { count: 0, isKnownZero: () => false };

/**
 * Holds the segments that have not changed since the base was stored, by their roots, without reading the disk. What is no longer stored is left
 * out and read like everything else, and so is everything when the base itself has gone or is no base of this disk.
 */
export async function takeOver(
  parts: StoreParts,
  { domainId, disk, base, signal }: IngestRequest,
  holder: Holder,
): Promise<TakenOver> {
  // Segments have their names from their domain: those of another one would have to be stored again.
  if (base?.domainId !== domainId) return NOTHING;
  const manifest = await readBase(parts, domainId, base.manifestHash);
  if (manifest?.virtualSizeBytes !== disk.virtualSizeBytes) return NOTHING;
  const { secret } = await parts.domains.open(domainId);
  const changed = touchedSegments(base.changed, disk.virtualSizeBytes);
  const hasData = new Uint8Array(changed.length);
  const unchanged: { index: number; position: number }[] = [];
  manifest.dataSegments.forEach((segment, position) => {
    hasData[segment] = 1;
    if (changed[segment] === 0) unchanged.push({ index: segment, position });
  });
  let count = 0;
  for (let from = 0; from < unchanged.length; from += BATCH) {
    signal.throwIfAborted();
    const entries = unchanged.slice(from, from + BATCH).map(({ index: segment, position }) => {
      const root = manifest.rootAt(position);
      return { index: segment, root, key: storageKey(secret, root) };
    });
    count += (await parts.index.holdStored(holder, domainId, entries)).size;
  }
  return { count, isKnownZero: (segment) => changed[segment] === 0 && hasData[segment] === 0 };
}

async function readBase(parts: StoreParts, domainId: string, manifestHash: string): Promise<Manifest | undefined> {
  try {
    return await readManifest(parts, domainId, manifestHash);
  } catch (error) {
    // A base only saves work: the disk has every byte.
    if (error instanceof ManifestNotFoundError || error instanceof StoredBytesDamagedError) return undefined;
    throw error;
  }
}

/** One byte per segment, set where any of the ranges touches it. */
function touchedSegments(ranges: Iterable<{ offset: number; length: number }>, virtualSizeBytes: number): Uint8Array {
  const touched = new Uint8Array(segmentCountOf(virtualSizeBytes));
  for (const { offset, length } of ranges) {
    if (length > 0) touched.fill(1, Math.floor(offset / SEGMENT_BYTES), Math.ceil((offset + length) / SEGMENT_BYTES));
  }
  return touched;
}
