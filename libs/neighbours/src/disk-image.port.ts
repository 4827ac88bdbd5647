import type { Transaction } from 'kysely';
import type { Database } from '@ims/db';

/** A stored image disk, as the image store names it. */
export interface ImageDiskRef {
  imageId: string;
  domainId: string;
  manifestHash: string;
}

export interface ImageDisk {
  readonly virtualSizeBytes: number;
  /** Guest bytes of a range that lies inside the disk, in chunks of any length. */
  read(range: { offset: number; length: number }, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** Ranges that may hold data, ascending, disjoint and inside the asked range; the rest of it reads as zeros. Looks at no content. */
  dataRanges(range: { offset: number; length: number }): Iterable<{ offset: number; length: number }>;
}

/**
 * Where a volume made from an image reads what has not been written or copied yet. The image store's `open(ref, 'raw')` fits
 * after renaming its size.
 */
export interface ImageDiskSource {
  open(ref: ImageDiskRef): Promise<ImageDisk>;
}

/**
 * Keeps the bytes of an image from the store's collector while a volume or snapshot still reads from them, also after the image was
 * deleted (MGT-05). Both calls run in the caller's transaction and accept that they have been made before.
 */
export interface BaseReferences {
  /** @throws NeighbourError NOT_FOUND when the bytes are not stored (any more) */
  hold(trx: Transaction<Database>, holder: string, ref: ImageDiskRef): Promise<void>;
  release(trx: Transaction<Database>, holder: string): Promise<void>;
}
