import type { ByteSource } from '@ims/buckets';
import type { DiskReader, Extent } from '../disk-reader';
import { FileProbe } from '../inspect/file-probe';
import type { VmdkLayout } from '../inspect/vmdk.inspect';
import { inspectVmdk } from '../inspect/vmdk.inspect';
import { broken } from '../refusal';
import { decompressBlock } from './decompress';
import { ExtentMerger } from './extent-merger';
import type { CompressedCluster, CompressedGroup, HostRun } from './gather';
import { pushCompressed, pushRun, readCompressed, readRuns } from './gather';
import { TableCache } from './table-cache';

const SECTOR_BYTES = 512;
// Grain tables (2 KiB) mostly lie one behind the other, so they are read and kept by pages of the file.
const PAGE_BYTES = 64 * 1024;
// 16 MiB of pages map 256 GiB of 64 KiB grains.
const CACHED_PAGES = 256;
// Sector number (u64) and length (u32) in front of a compressed grain.
const MARKER_BYTES = 12;
// zlib adds at most 5 bytes per 16 KiB, 6 bytes of frame and some rounding to data that does not compress.
const MAX_EXPANSION_BYTES = 1024;
const ENTRY_ZERO_GRAIN = 1;

/**
 * VMDK in one sparse file: monolithicSparse and streamOptimized (image-formats 1, 5). Grain tables are loaded when first needed. Absent grains and grains
 * of zeros are holes. A mapping that leaves the file, or a grain marker that does not belong to its place, fails with `IMG.0057`.
 */
export class VmdkReader implements DiskReader {
  readonly virtualSizeBytes: number;
  private readonly pages: TableCache;

  private constructor(
    private readonly source: ByteSource,
    private readonly layout: VmdkLayout,
    private readonly directory: Buffer,
  ) {
    this.virtualSizeBytes = layout.virtualSizeBytes;
    this.pages = new TableCache(CACHED_PAGES, async (offset) => {
      // The last table of a page may reach into the next one.
      const page = Buffer.alloc(Math.min(PAGE_BYTES + layout.grainsPerTable * 4, source.sizeBytes - offset));
      await source.read(offset, page);
      return page;
    });
  }

  /** Inspects the file again and opens it (`IMG.0057` when it is refused); closing the reader closes the source. */
  static async open(source: ByteSource): Promise<VmdkReader> {
    const layout = await inspectVmdk(await FileProbe.of(source));
    // At most 4 MiB: inspection has compared the directory with its own limit and the file size.
    const directory = Buffer.alloc(layout.directoryEntries * 4);
    await source.read(layout.directoryOffset, directory);
    return new VmdkReader(source, layout, directory);
  }

  async *extents(signal?: AbortSignal): AsyncIterable<Extent> {
    const merger = new ExtentMerger(this.virtualSizeBytes);
    const { grainBytes, grainsPerTable, isCompressed, directoryEntries } = this.layout;
    // No two grains share file bytes, so together they cannot exceed the file: this stops tables that point at one grain over and over.
    let hostBytes = 0;
    for (let index = 0; index < directoryEntries; index++) {
      signal?.throwIfAborted();
      this.pages.prefetch(this.pagesAfter(index));
      const table = await this.tableOf(index, signal);
      if (table === undefined) continue;
      for (let grain = 0; grain < grainsPerTable; grain++) {
        if (this.isHole(table.readUInt32LE(grain * 4))) continue;
        hostBytes += isCompressed ? SECTOR_BYTES : grainBytes;
        const closed = merger.push((index * grainsPerTable + grain) * grainBytes, grainBytes);
        if (closed !== undefined) yield closed;
      }
      if (hostBytes > this.source.sizeBytes + grainBytes) throw broken('VMDK grains are used more than once');
    }
    const last = merger.end();
    if (last !== undefined) yield last;
  }

  async read(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    const { grainBytes, grainsPerTable, isCompressed } = this.layout;
    const runs: HostRun[] = [];
    const groups: CompressedGroup[] = [];
    const end = Math.max(offset, Math.min(offset + target.length, this.virtualSizeBytes));
    for (let at = offset; at < end;) {
      const grain = Math.floor(at / grainBytes);
      const inCluster = at - grain * grainBytes;
      const length = Math.min(grainBytes - inCluster, end - at);
      const targetOffset = at - offset;
      const table = await this.tableOf(Math.floor(grain / grainsPerTable), signal);
      const entry = table?.readUInt32LE((grain % grainsPerTable) * 4) ?? 0;
      const hostOffset = entry * SECTOR_BYTES;
      if (this.isHole(entry)) target.fill(0, targetOffset, targetOffset + length);
      else if (isCompressed) {
        const hostBytes = Math.min(MARKER_BYTES + grainBytes + MAX_EXPANSION_BYTES, this.source.sizeBytes - hostOffset);
        if (hostBytes <= MARKER_BYTES) throw broken('a VMDK grain lies outside the file');
        pushCompressed(groups, {
          hostOffset,
          hostBytes,
          guestOffset: grain * grainBytes,
          inCluster,
          targetOffset,
          length,
        });
      } else {
        if (hostOffset + inCluster + length > this.source.sizeBytes) throw broken('a VMDK grain lies outside the file');
        pushRun(runs, { hostOffset: hostOffset + inCluster, targetOffset, length });
      }
      at += length;
    }
    target.fill(0, end - offset);
    await readRuns(this.source, runs, target, signal);
    await readCompressed(this.source, groups, (stored, cluster) => this.unpack(stored, cluster), target, signal);
  }

  close(): Promise<void> {
    return this.source.close();
  }

  private isHole(entry: number): boolean {
    return entry === 0 || (entry === ENTRY_ZERO_GRAIN && this.layout.hasZeroGrains);
  }

  private async tableOf(index: number, signal?: AbortSignal): Promise<Buffer | undefined> {
    const offset = this.tableOffset(index);
    if (offset === 0) return undefined;
    const page = await this.pages.get(pageOf(offset), signal);
    const start = offset - pageOf(offset);
    return page.subarray(start, start + this.layout.grainsPerTable * 4);
  }

  /** Inspection has checked that every table lies inside the file. */
  private tableOffset(index: number): number {
    return this.directory.readUInt32LE(index * 4) * SECTOR_BYTES;
  }

  private pagesAfter(index: number): Set<number> {
    const pages = new Set<number>();
    const last = Math.min(index + this.pages.readAhead, this.layout.directoryEntries - 1);
    for (let next = index + 1; next <= last; next++) {
      const offset = this.tableOffset(next);
      if (offset !== 0) pages.add(pageOf(offset));
    }
    return pages;
  }

  private unpack(stored: Buffer, cluster: CompressedCluster): Buffer {
    if (Number(stored.readBigUInt64LE(0)) * SECTOR_BYTES !== cluster.guestOffset)
      throw broken('a VMDK grain belongs to another place of the disk');
    const length = stored.readUInt32LE(8);
    if (length === 0 || length > stored.length - MARKER_BYTES) throw broken('a VMDK grain has an impossible length');
    const { grainBytes } = this.layout;
    // qemu stores only the part of the last grain that lies inside the disk, other writers all of it.
    const least = Math.min(grainBytes, this.virtualSizeBytes - cluster.guestOffset);
    return decompressBlock('zlib', stored.subarray(MARKER_BYTES, MARKER_BYTES + length), grainBytes, least);
  }
}

const pageOf = (offset: number): number => offset - (offset % PAGE_BYTES);
