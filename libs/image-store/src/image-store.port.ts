import type { DedupDomainId, ImageId, IngestedDisk, JobId, ReceivedDisk, VerifiedDisk } from '@ims/contract';
import type { DiskDescriptor } from '@ims/image-format';

export interface IngestRequest {
  jobId: JobId;
  domainId: DedupDomainId;
  /** Which of the job's disks this is; `CONTENT` when left out. Each has its own resume position. */
  part?: string;
  disk: DiskDescriptor;
  /** A stored disk that this one differs from in a known way: what it has already is not read again. */
  base?: IngestBase;
  /** Called after each sealed pack and at least every second while work is done. */
  onProgress(progress: IngestProgress): void;
  signal: AbortSignal;
}

/** What of a disk is as it was when another one was stored, by the word of whoever keeps account of its changes. */
export interface IngestBase {
  domainId: DedupDomainId;
  manifestHash: string;
  /** Ranges of the disk that may differ from the base; everything else is equal. */
  changed: readonly ByteRange[];
}

export interface IngestProgress {
  /** Guest bytes of data segments finished, out of all that hold data. Never goes back, also not after a restart. */
  bytesDone: number;
  bytesTotal: number;
  /** Bytes this attempt wrote into packs (evidence, never part of an event). */
  bytesWritten: number;
}

/** A disk that is to be stored once more, in another dedup domain or the same. */
export interface CopyRequest extends Omit<IngestRequest, 'disk'> {
  from: { domainId: DedupDomainId; manifestHash: string };
}

/** A dedup domain of a project's images under one of its keys. */
export interface KeyedDomain {
  id: string;
  projectId: string;
  keyId: string;
}

/** Data keys of encrypted domains, from a key service the store knows nothing of. Both calls throw where the key may not be used. */
export interface DataKeys {
  /** A fresh data key (32 bytes, the caller's to wipe) and what may be kept of it. */
  create(domain: KeyedDomain): Promise<{ key: Uint8Array; wrapped: Uint8Array }>;
  /** The same key again (the caller's to wipe). */
  open(domain: KeyedDomain, wrapped: Uint8Array): Promise<Uint8Array>;
}

/** What a pass of the collector has removed. */
export interface CollectedBytes {
  segmentsRemoved: number;
  packsRemoved: number;
  /** Bytes set free in the AZ. */
  bytesRemoved: number;
}

export interface CollectOptions {
  /** Ends the pass between two objects; what is removed is removed. */
  signal?: AbortSignal;
  /** Called at the beginning of each part of the pass, and after each object that went. */
  onProgress?(part: string, soFar: CollectedBytes): void;
}

export interface ByteRange {
  offset: number;
  length: number;
}

/** A stored disk as a file in one of the forms a download can take; deterministic, so lengths are known beforehand. */
export interface DiskFile {
  readonly sizeBytes: number;
  /** The whole file, or a range of it, in chunks. */
  read(range?: ByteRange, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /**
   * Ranges that may hold data, ascending, joined and inside the asked range; the rest of it reads as zeros. Told without reading anything: those of
   * `raw` are the segments of the manifest, any other form is one range.
   */
  dataRanges(range?: ByteRange): Iterable<ByteRange>;
}

/**
 * Segments, packs, manifests (design 4). A segment that is stored already is never written again; a sealed pack is durable;
 * nothing is referenced before `verify` has read it back.
 */
export interface ImageStore {
  /** The dedup domain of a project's plain images; made with a fresh secret at first use. */
  plainDomain(projectId: string): Promise<DedupDomainId>;
  /**
   * The dedup domain of a project's images under one of its keys; made with a data key of the key service at first use. What is stored in it is sealed:
   * frames, leaf hashes and manifests, and the roots of its content are known to nobody without the data key (design 4, "Encryption").
   */
  keyedDomain(projectId: string, keyId: string): Promise<DedupDomainId>;
  /**
   * One pass over the disk with one thread per core. Safe to run again at any time: goes on from the segments the job already holds,
   * adopts or removes packs a dead attempt left open. Writes the manifest object last. Output depends only on the disk and what is stored.
   * With a base, unchanged segments are held by their roots and not read, as far as they are still stored; a base that has gone is none.
   * A job that has several disks ingests them one after the other: each ingest takes the open packs it finds for leftovers.
   */
  ingest(request: IngestRequest): Promise<IngestedDisk>;
  /**
   * Stores a stored disk in another domain: each segment that is not there yet is unsealed and sealed frame by frame, never decoded. In the same domain
   * no byte moves. Safe to run again at any time, as `ingest`; `verify` has to follow. Fails with `StoredBytesDamagedError`.
   */
  copy(request: CopyRequest): Promise<IngestedDisk>;
  /** Reads every segment of the manifest back, decodes it and recomputes every root. Fails with `StoredBytesDamagedError`. */
  verify(request: {
    domainId: DedupDomainId;
    manifestHash: string;
    signal: AbortSignal;
    onProgress(bytesDone: number, bytesTotal: number): void;
  }): Promise<VerifiedDisk>;
  /** Undo of ingest: drops the job's holds on all its disks and removes its open packs. Accepts that there is nothing to undo. */
  discard(jobId: JobId): Promise<void>;
  /**
   * Brings a disk over from another store. What this domain has already is held, not sent; of segments that the base has otherwise only the differing
   * leaves travel; all others travel as the frames they are stored in. Everything is decoded and hashed before it counts. Safe to run again at any
   * time: goes on from the segments the job already holds. The manifest is the same as in the other store, byte for byte.
   *
   * @throws StoredBytesDamagedError when the manifest is not the announced one
   * @throws ExchangeError when the other store sends something else than it was asked for
   */
  receive(request: ReceiveRequest): Promise<ReceivedDisk>;
  /** The other side of `receive`: the bytes of a manifest of this store. @throws ManifestNotFoundError */
  manifestBytes(disk: { domainId: DedupDomainId; manifestHash: string }): Promise<Buffer>;
  /**
   * The other side of `receive`: answers one request about a disk of this store. What does not fit into an answer of some 8 MiB is left out; it will be
   * asked for again.
   *
   * @throws ExchangeError for a request that is none, or for a segment that the disk does not have
   */
  answer(disk: { domainId: DedupDomainId; manifestHash: string }, request: Buffer): Promise<Buffer>;
  /** Guest bytes (`raw`) or the assembled ZVHD2 file. */
  open(disk: { domainId: DedupDomainId; manifestHash: string }, form: 'raw' | 'zvhd2'): Promise<DiskFile>;
  /**
   * Removes segments with neither hold nor reference, and packs without segments. Safe beside running jobs and readers, and to run again at any
   * time: a pass that died half way has removed nothing that the next one would not.
   *
   * @throws CollectorBusyError while another pass is under way (fault-matrix C9)
   */
  collect(options?: CollectOptions): Promise<CollectedBytes>;
  /** Whether a pass would find anything to remove or to rewrite, by the rows alone; files that no row explains are found by passes only. */
  isCollectionDue(): Promise<boolean>;
  /** Everything on disk that no row explains, and the reverse; empty after `collect` in a settled system (I4). */
  audit(): Promise<{ unknownObjects: string[]; missingObjects: string[] }>;
  /** Ends the threads and wipes every data key. */
  close(): Promise<void>;
}

/** A disk of another store, which is asked for its content piece by piece. */
export interface RemoteDisk {
  /** The bytes of its manifest. */
  manifest(signal: AbortSignal): Promise<Buffer>;
  /** Sends a request of `receive` to the other store's `answer` and resolves with what that said. */
  exchange(request: Buffer, signal: AbortSignal): Promise<Buffer>;
}

export interface ReceiveRequest {
  jobId: JobId;
  domainId: DedupDomainId;
  /** As in `IngestRequest`. */
  part?: string;
  /** SHA-256 of the manifest's bytes, hex: what the other side says it will send. */
  manifestHash: string;
  remote: RemoteDisk;
  /** A disk of this store that is much like the other one: of segments that differ only the leaves that do are asked for. */
  base?: { domainId: DedupDomainId; manifestHash: string } | undefined;
  onProgress(progress: IngestProgress): void;
  signal: AbortSignal;
}

/** References are taken and dropped inside the caller's transaction, together with the event of the step. */
export interface ImageReferences<Trx> {
  /** Turns the job's holds on one disk into references of the disk's manifest. `part` as in the disk's ingest. */
  publish(
    trx: Trx,
    request: { jobId: JobId; imageId: ImageId; part?: string; domainId: DedupDomainId; manifestHash: string },
  ): Promise<void>;
  /** Drops the manifest's references when no other live image uses it; the collector does the rest. */
  release(trx: Trx, request: { imageId: ImageId; domainId: DedupDomainId; manifestHash: string }): Promise<void>;
}
