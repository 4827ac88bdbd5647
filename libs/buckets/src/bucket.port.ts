import type { BucketFile, PinnedFile } from '@ims/contract';
import type { BucketUploads } from './upload.port';

export interface BucketInfo {
  /** Region the bucket lies in; compared with our own (IMG.0058). */
  region: string;
  storageClass: 'STANDARD' | 'WARM' | 'COLD';
}

/** Where a pinned file can be read from, as plain data: it crosses into worker threads, which open their own reader. */
export type SourceDescriptor =
  | { driver: 'directory'; root: string; file: PinnedFile }
  | {
      driver: 's3';
      endpoint: string;
      region: string;
      accessKeyId: string;
      secretAccessKey: string;
      forcePathStyle: boolean;
      file: PinnedFile;
    };

/** Random access to one pinned version of a file. A read after the file has changed fails with `SourceChangedError`. */
export interface ByteSource {
  readonly sizeBytes: number;
  /** Fills `target` from `position`; both ends must lie inside the file. */
  read(position: number, target: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** Ranges that hold data, ascending, where the store can tell (SEEK_DATA); one range for the whole file elsewhere. */
  dataRanges(): AsyncIterable<{ offset: number; length: number }>;
  /** Fails with `SourceChangedError` unless the file is still the pinned one. */
  checkUnchanged(): Promise<void>;
  close(): Promise<void>;
}

/**
 * User-owned object buckets: image files come in from them, exports go out to them (backends D1).
 * Same contract for the directory driver and the S3 driver.
 */
export interface BucketStore extends BucketUploads {
  /**
   * `undefined` when the bucket is absent or not accessible (IMG.0069). Fails with `ImsError` IMG.0069 when what the bucket says of itself cannot
   * be read.
   */
  describeBucket(bucket: string): Promise<BucketInfo | undefined>;
  /** `undefined` when there is no such object. */
  pin(file: BucketFile): Promise<PinnedFile | undefined>;
  describe(file: PinnedFile): SourceDescriptor;
  createBucket(bucket: string): Promise<void>;
  /** Uploads a whole object (multipart where the store needs it); resolves once it is durable and visible. */
  put(file: BucketFile, body: NodeJS.ReadableStream | Uint8Array, sizeBytes?: number): Promise<PinnedFile>;
  list(bucket: string, prefix?: string): AsyncIterable<PinnedFile>;
  remove(file: BucketFile): Promise<void>;
}
