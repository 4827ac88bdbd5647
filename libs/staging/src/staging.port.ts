import type { FileDigests, PinnedFile } from '@ims/contract';
import type { SourceDescriptor } from '@ims/buckets';
import type { Database } from '@ims/db';
import type { Transaction } from 'kysely';

/** Bytes that are arriving, or have arrived and wait for the job that takes them. */
export interface StagedFile {
  id: string;
  projectId: string;
  /** The image that the bytes are for. */
  imageId: string | null;
  /** The job that owns the file and deletes it at its end; before that it is its project's, and the sweeper's once it is idle. */
  jobId: string | null;
  /** Complete: nothing is appended any more. */
  sealed: boolean;
  /** Bytes that are durable. Appending goes on from here. */
  lengthBytes: number;
  /** Length that the sender announced. */
  announcedBytes: number | null;
  /** The version of what the bytes are fetched from, as its server names it. */
  validator: string | null;
  createdAt: Date;
  /** When bytes last became durable. */
  touchedAt: Date;
}

export interface NewStagedFile {
  projectId: string;
  imageId?: string;
  jobId?: string;
  /** Held against the project's quota at once; appending beyond it is refused. */
  announcedBytes?: number;
}

export interface AppendOptions {
  signal?: AbortSignal;
  /** Longest file in bytes (`StagingFullError` `'file'` beyond it). */
  maxBytes?: number;
  /** Called with the length each time more of it has become durable. */
  onDurable?: (lengthBytes: number) => void;
  /** Drops first what the file has, as `restart` does: `offset` is 0 then. Nobody else writes in between. */
  restartAs?: RestartedFile;
  /** Length that the sender tells now, if it has told none before. Held at once, as by `create`. */
  announcedBytes?: number;
  /** The body is the rest of the file: it is complete as soon as all of it is durable, before anybody else may write. */
  isRest?: boolean;
}

/** What is known of the bytes with which a file begins again. */
export interface RestartedFile {
  announcedBytes: number | null;
  validator: string | null;
}

/** Digests of what has arrived, and how much that was. */
export interface StagedDigests extends FileDigests {
  sizeBytes: number;
}

/**
 * Files whose bytes arrive in pieces, over many requests and through whatever process takes them. Every process of a region names the same
 * directory.
 */
export interface StagedFiles {
  /**
   * Begins a file. `id` is 1 to 64 of `a-z0-9-`. Creating the same file again changes nothing. With `trx` it is there once that has committed.
   * Fails with `StagingFullError`, and with `StagedFileExistsError` when the id is another file's or bytes for the image arrive already.
   */
  create(id: string, file: NewStagedFile, trx?: Transaction<Database>): Promise<StagedFile>;
  find(id: string): Promise<StagedFile | undefined>;
  /** The file whose bytes arrive for an image; `undefined` once a job has taken it. */
  findOfImage(imageId: string): Promise<StagedFile | undefined>;
  /**
   * Writes `body` at `offset`, which must be the file's length, and resolves with the new length once every byte is durable. When the body
   * fails or `signal` fires, what had arrived is made durable first and then the reason is thrown: the sender goes on from `length`.
   * Fails with `StagedOffsetError`, `StagedFileBusyError` (one writer at a time, over all processes), `StagedFileMissingError`,
   * `StagingFullError`.
   */
  append(id: string, offset: number, body: AsyncIterable<Uint8Array>, options?: AppendOptions): Promise<number>;
  /**
   * Drops what a file has: it begins again, perhaps with other bytes, also when it was complete. Fails like `append`, and with `StagingFullError` when there is no room for
   * what is announced now.
   */
  restart(id: string, as: RestartedFile): Promise<void>;
  /** Durable length in bytes. Fails with `StagedFileMissingError`. */
  length(id: string): Promise<number>;
  /** Digests of the file as it is now; reads all of it. Fails with `StagedFileMissingError`. */
  digests(id: string, signal?: AbortSignal): Promise<StagedDigests>;
  /** The file as one version of it, `undefined` when there is none. Ends what a killed writer left behind the durable length. */
  pin(id: string): Promise<PinnedFile | undefined>;
  /** Where a pinned file is read from, for `openSource` of `@ims/buckets`. */
  describe(file: PinnedFile): SourceDescriptor;
  /** Ends appending. Fails with `StagedFileMissingError`. */
  seal(id: string): Promise<void>;
  /**
   * Gives a file to a job, in the transaction that accepts the job: nothing is appended any more and nothing sweeps it before the job has ended.
   * Fails with `StagedFileMissingError` when it is gone, another job's, or of another length than `lengthBytes`.
   */
  claim(trx: Transaction<Database>, id: string, jobId: string, lengthBytes?: number): Promise<void>;
  /** Removes bytes and record; a file that is gone counts as deleted. A writer that is under way fails. */
  delete(id: string): Promise<void>;
  /** Removes a file as `delete` does, unless a job has it. */
  deleteUnclaimed(id: string): Promise<void>;
  /**
   * Forgets a file that nobody has claimed and to which nothing was added since `touchedAt`; `false` when there is none like that. The bytes go by
   * `delete` after the commit.
   */
  forgetIdle(trx: Transaction<Database>, id: string, touchedAt: Date): Promise<boolean>;
  /** Removes bytes that have no record and are older than `before`; returns how many files that were. */
  deleteStrays(before: Date): Promise<number>;
  /** Every file, oldest first. */
  list(): Promise<StagedFile[]>;
  close(): Promise<void>;
}
