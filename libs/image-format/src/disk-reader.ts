import type { DiskFormat } from '@ims/contract';
import type { SourceDescriptor } from '@ims/buckets';

/** A run of guest addresses that may hold data; what no extent covers reads as zeros and is never read. */
export interface Extent {
  offset: number;
  length: number;
}

/** A disk, whatever file format holds it: guest bytes and the ranges where data lies. */
export interface DiskReader {
  readonly virtualSizeBytes: number;
  /** Ascending, disjoint, inside the disk. */
  extents(signal?: AbortSignal): AsyncIterable<Extent>;
  /** Fills `target` with guest bytes from `offset`; holes become zeros, bytes past the disk's end too. */
  read(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** Readers of our own code; they need nothing but the file. */
export type OwnReader = 'raw' | 'qcow2' | 'vmdk' | 'vhd' | 'vhdx' | 'vdi' | 'zvhd' | 'zvhd2';

/**
 * How a worker thread opens its own reader. Plain data. `nbd` is a sandboxed qemu-nbd that the owner of the ingest
 * keeps running; threads only connect to its socket.
 */
export type DiskDescriptor =
  | { reader: OwnReader; source: SourceDescriptor; virtualSizeBytes: number }
  | { reader: 'nbd'; socketPath: string; virtualSizeBytes: number };

/** What inspection found out about a file, before any converter has seen it. */
export interface Inspection {
  format: DiskFormat;
  virtualSizeBytes: number;
}
