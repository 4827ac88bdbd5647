import type { ByteSource } from '@ims/buckets';
import type { DiskReader, Extent } from '../disk-reader';
import { ExtentMerger } from './extent-merger';

/** A disk whose guest bytes are the file's bytes from 0: raw, ISO and the body of a fixed VHD. Holes come from the store (SEEK_DATA). */
export class RawReader implements DiskReader {
  constructor(
    private readonly source: ByteSource,
    readonly virtualSizeBytes: number,
  ) {}

  async *extents(signal?: AbortSignal): AsyncIterable<Extent> {
    const merger = new ExtentMerger(this.virtualSizeBytes);
    for await (const range of this.source.dataRanges()) {
      signal?.throwIfAborted();
      const closed = merger.push(range.offset, range.length);
      if (closed !== undefined) yield closed;
    }
    const last = merger.end();
    if (last !== undefined) yield last;
  }

  async read(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    const end = Math.min(this.virtualSizeBytes, this.source.sizeBytes);
    const inside = Math.max(0, Math.min(target.length, end - offset));
    if (inside > 0) await this.source.read(offset, target.subarray(0, inside), signal);
    target.fill(0, inside);
  }

  close(): Promise<void> {
    return this.source.close();
  }
}
