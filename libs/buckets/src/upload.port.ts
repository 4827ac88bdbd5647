import type { BucketFile, PinnedFile } from '@ims/contract';

/** An object that is being written in parts; nothing of it can be seen before it is complete (backends D1). Plain data, to be kept by whoever goes on. */
export interface ObjectUpload {
  file: BucketFile;
  uploadId: string;
  /** Whose upload it is; the finished object says so, where the store can keep that. */
  owner: string;
  /** Length of every part but the last. */
  partSizeBytes: number;
}

/** A part that the store has. `etag` in the store's own words. */
export interface UploadedPart {
  /** 1 to 10 000. */
  part: number;
  etag: string;
  sizeBytes: number;
}

/** A part that is to be sent: its bytes in pieces, and the MD5 that was taken while they were made. */
export interface PartBody {
  pieces: readonly Uint8Array[];
  sizeBytes: number;
  /** 16 bytes; the store refuses other bytes. */
  md5: Buffer;
}

/** Objects that are created and never replace another one (IMG.0070). */
export interface BucketUploads {
  /**
   * Begins an upload. Where the store can tell owners apart, a second call of the same owner gives the same upload again.
   *
   * @throws ObjectNameError for a name that no store takes, ImsError IMG.0069 when the bucket is not there
   */
  startUpload(file: BucketFile, options: { owner: string; partSizeBytes: number }): Promise<ObjectUpload>;
  /** Uploads of this object that are under way and that `startUpload` would not find again; empty where it does. */
  pendingUploads(file: BucketFile): Promise<string[]>;
  /** The same part sent twice is the same part; the last one counts. Durable when it resolves. @throws UploadGoneError */
  putPart(upload: ObjectUpload, part: number, body: PartBody, signal?: AbortSignal): Promise<UploadedPart>;
  /** The parts that the store has, by number; none of an upload that is gone. Of a part that was sent twice, some stores name both. */
  listParts(upload: ObjectUpload): Promise<UploadedPart[]>;
  /**
   * Makes the object visible, whole, at once. May be called again when its answer was lost. `parts` are all parts in order.
   *
   * @throws ObjectExistsError when there is another object of that name, UploadGoneError when there is neither the upload nor its object
   */
  completeUpload(upload: ObjectUpload, parts: readonly UploadedPart[]): Promise<PinnedFile>;
  /** Drops the parts. An upload that is complete or gone counts as dropped; its object stays. */
  abortUpload(upload: Pick<ObjectUpload, 'file' | 'uploadId'>): Promise<void>;
  /** The object, if it is the one that this upload has made. */
  objectOf(upload: ObjectUpload): Promise<PinnedFile | undefined>;
  /** Creates a small object of these bytes. @throws ObjectExistsError */
  createObject(file: BucketFile, bytes: Uint8Array): Promise<PinnedFile>;
  /** Undoes `createObject`, also one that was stopped in the middle: an object of other bytes stays, none at all is fine. */
  removeCreated(file: BucketFile, bytes: Uint8Array): Promise<void>;
}

/** A store counts parts from 1 to this (backends D1). */
export const MAX_PARTS = 10_000;
const MIB = 1024 * 1024;
const MIN_PART_BYTES = 64 * MIB;

/**
 * Length of the parts of an object of at most so many bytes: max(64 MiB, size / 10 000), rounded up to 1 MiB (backends D1.2).
 *
 * @example partSizeBytes(2 ** 40) === 105 * 2 ** 20
 */
export function partSizeBytes(sizeBytes: number): number {
  return Math.max(MIN_PART_BYTES, Math.ceil(sizeBytes / MAX_PARTS / MIB) * MIB);
}
