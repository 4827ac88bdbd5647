import type { ByteSource } from '@ims/buckets';
import type { DiskReader, Extent } from '../disk-reader';
import type { BlockLayout } from '../inspect/block-layout';
import { HOLE } from '../inspect/block-layout';
import { ExtentMerger } from './extent-merger';
import type { HostRun } from './gather';
import { pushRun, readRuns } from './gather';

/**
 * A disk of equal blocks stored as they are: dynamic VHD, VHDX, VDI (image-formats 1). Blocks that are not stored are holes. VHDX is read here and not
 * through qemu because qemu 7.2 tells no holes of it, so that a sparse disk would be read as a full one.
 */
export class BlockMapReader implements DiskReader {
  readonly virtualSizeBytes: number;

  constructor(
    private readonly source: ByteSource,
    private readonly layout: BlockLayout,
  ) {
    this.virtualSizeBytes = layout.virtualSizeBytes;
  }

  async *extents(signal?: AbortSignal): AsyncIterable<Extent> {
    const merger = new ExtentMerger(this.virtualSizeBytes);
    const { blockBytes, hostOffsets } = this.layout;
    for (const [index, hostOffset] of hostOffsets.entries()) {
      if (hostOffset === HOLE) continue;
      const closed = merger.push(index * blockBytes, blockBytes);
      if (closed === undefined) continue;
      signal?.throwIfAborted();
      yield closed;
    }
    const last = merger.end();
    if (last !== undefined) yield last;
  }

  async read(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    const { blockBytes, hostOffsets } = this.layout;
    const runs: HostRun[] = [];
    const end = Math.max(offset, Math.min(offset + target.length, this.virtualSizeBytes));
    for (let at = offset; at < end;) {
      const index = Math.floor(at / blockBytes);
      const inBlock = at - index * blockBytes;
      const length = Math.min(blockBytes - inBlock, end - at);
      const hostOffset = hostOffsets[index] ?? HOLE;
      const targetOffset = at - offset;
      if (hostOffset === HOLE) target.fill(0, targetOffset, targetOffset + length);
      else pushRun(runs, { hostOffset: hostOffset + inBlock, targetOffset, length });
      at += length;
    }
    target.fill(0, end - offset);
    await readRuns(this.source, runs, target, signal);
  }

  close(): Promise<void> {
    return this.source.close();
  }
}
