import type { DiskDescriptor } from '@ims/image-format';
import type { AzDescriptor } from '../placement/az-store.port';

/** A dedup domain as a thread works in it. The data key of an encrypted one comes by message alone and is wiped by the lane that gets it. */
export interface ThreadDomain {
  domainId: string;
  domainSecret: Uint8Array;
  dataKey?: Uint8Array;
}

/** What one lane of an ingest needs. Lanes of one ingest share the two memories and take segments from `segments` one by one. */
export interface IngestWork extends ThreadDomain {
  kind: 'ingest';
  az: AzDescriptor;
  disk: DiskDescriptor;
  /** Uint32: numbers of the segments that may hold data and are not stored yet. */
  segments: SharedArrayBuffer;
  counters: SharedArrayBuffer;
}

/** One lane of a copy into another domain; asks for unit after unit of the stored disk. */
export interface CopyWork extends ThreadDomain {
  kind: 'copy';
  az: AzDescriptor;
  from: ThreadDomain;
  counters: SharedArrayBuffer;
}

/** One lane of a verification; asks for unit after unit. */
export interface VerifyWork extends ThreadDomain {
  kind: 'verify';
  az: AzDescriptor;
}

export type Work = IngestWork | CopyWork | VerifyWork;

/** Positions in `IngestWork.counters` (Int32 each, changed atomically). */
export const COUNTER = { next: 0, zeroSegments: 1, kibibytesWritten: 2 } as const;
export const COUNTER_BYTES = 3 * Int32Array.BYTES_PER_ELEMENT;

export interface LookupEntry {
  index: number;
  root: Uint8Array;
  key: Uint8Array;
}

/** A segment of a sealed pack, ready to be registered. */
export interface SealedSegment extends LookupEntry {
  offset: number;
  frameLengths: number[];
  frameChecksums: number[];
  /** What it took to bring it from another store; absent for what was read from a disk. */
  wireBytes?: number;
  frameNonces?: Uint8Array[];
}

export interface SealedPack {
  packId: string;
  sizeBytes: number;
  segments: SealedSegment[];
}

/** Segments of one pack, in the order they lie there. */
export interface SegmentUnit {
  packId: string;
  segments: {
    /** As the manifest has it: in an encrypted domain the name that stands for the root. */
    root: Uint8Array;
    key: Uint8Array;
    offset: number;
    frameLengths: number[];
    frameChecksums: number[];
    frameNonces?: Uint8Array[];
    /** Numbers of the disk's segments that have this content. */
    indexes: number[];
  }[];
}

/** What a thread asks its owner. */
export interface OwnerMethods {
  /** Answers with the indexes that have to be written; the others are held or will be. */
  lookup: { input: LookupEntry[]; output: number[] };
  /** A pack id whose row exists. */
  openPack: { input: null; output: string };
  /** Resolves once the pack's segments are registered and held. */
  sealed: { input: SealedPack; output: null };
  /** `null` when there is nothing more; `done` counts the segments finished since the last question. */
  nextUnit: { input: { done: number }; output: SegmentUnit | null };
}
export type OwnerMethod = keyof OwnerMethods;
export type OwnerHandlers = {
  [M in OwnerMethod]?: (input: OwnerMethods[M]['input']) => Promise<OwnerMethods[M]['output']>;
};
export type AskOwner = <M extends OwnerMethod>(
  method: M,
  input: OwnerMethods[M]['input'],
) => Promise<OwnerMethods[M]['output']>;

export interface OwnerCall<M extends OwnerMethod = OwnerMethod> {
  kind: 'call';
  task: number;
  call: number;
  method: M;
  input: OwnerMethods[M]['input'];
}

export interface ThreadFailure {
  name: string;
  message: string;
  stack: string | undefined;
  /** `code` of an operating system error or of the service's own error list. */
  code: string | undefined;
}

export type ToThread =
  | { kind: 'start'; task: number; work: Work }
  | { kind: 'answer'; task: number; call: number; output: unknown }
  | { kind: 'cancel'; task: number };
export type FromThread =
  OwnerCall | { kind: 'done'; task: number } | { kind: 'failed'; task: number; failure: ThreadFailure };
