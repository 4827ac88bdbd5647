import type { ByteSource } from '@ims/buckets';
import type { DiskReader, Extent } from '../disk-reader';
import { FileProbe } from '../inspect/file-probe';
import type { Qcow2Layout } from '../inspect/qcow2.inspect';
import { inspectQcow2 } from '../inspect/qcow2.inspect';
import { broken } from '../refusal';
import { decompressBlock } from './decompress';
import { ExtentMerger } from './extent-merger';
import type { CompressedGroup, HostRun } from './gather';
import { pushCompressed, pushRun, readCompressed, readRuns } from './gather';
import { TableCache } from './table-cache';

// An entry's high word: bit 63 (copied) says nothing to a reader, bit 62 is "compressed", bits 0..23 the top of the offset.
const HIGH_COMPRESSED = 0x40000000;
const HIGH_OFFSET_MASK = 0x00ffffff;
const LOW_OFFSET_MASK = 0xfffffe00;
const LOW_ZERO = 1;
const SECTOR_BYTES = 512;
// L2 tables kept per reader: 16 MiB map 128 GiB of 64 KiB clusters.
const L2_CACHE_BYTES = 16 * 1024 * 1024;

/**
 * QCOW2 version 2 and 3 with zlib or zstd clusters (image-formats 1, 5). L2 tables are loaded when first needed. Clusters that are absent or marked as
 * zeros are holes. A mapping that leaves the file or uses clusters twice fails with `IMG.0057`.
 */
export class Qcow2Reader implements DiskReader {
  readonly virtualSizeBytes: number;
  private readonly clusterBytes: number;
  private readonly entriesPerTable: number;
  private readonly tables: TableCache;
  private readonly codec: 'deflate' | 'zstd';
  /** A compressed entry splits at this bit: sector count above, byte offset below. */
  private readonly offsetBits: number;

  private constructor(
    private readonly source: ByteSource,
    layout: Qcow2Layout,
    private readonly l1: Buffer,
  ) {
    this.virtualSizeBytes = layout.virtualSizeBytes;
    this.clusterBytes = 2 ** layout.clusterBits;
    this.entriesPerTable = this.clusterBytes / 8;
    this.codec = layout.compression === 'zstd' ? 'zstd' : 'deflate';
    this.offsetBits = 62 - (layout.clusterBits - 8);
    this.tables = new TableCache(Math.max(4, Math.floor(L2_CACHE_BYTES / this.clusterBytes)), (offset) =>
      this.loadTable(offset),
    );
  }

  /** Inspects the file again and opens it (`IMG.0057` when it is refused); closing the reader closes the source. */
  static async open(source: ByteSource): Promise<Qcow2Reader> {
    const layout = await inspectQcow2(await FileProbe.of(source));
    // At most 32 MiB: inspection has compared the table with the format's limit and the file size.
    const l1 = Buffer.alloc(layout.l1Entries * 8);
    if (l1.length > 0) await source.read(layout.l1Offset, l1);
    return new Qcow2Reader(source, layout, l1);
  }

  async *extents(signal?: AbortSignal): AsyncIterable<Extent> {
    const merger = new ExtentMerger(this.virtualSizeBytes);
    // No two live clusters share host bytes, so together they cannot exceed the file: this stops tables that point at one cluster over and over.
    let hostBytes = 0;
    const tableSpan = this.entriesPerTable * this.clusterBytes;
    for (let index = 0; index * 8 < this.l1.length; index++) {
      signal?.throwIfAborted();
      this.tables.prefetch(this.tableOffsetsAfter(index));
      const table = await this.tableOf(index, signal);
      if (table === undefined) continue;
      hostBytes += this.clusterBytes;
      const start = index * tableSpan;
      const entries = Math.min(this.entriesPerTable, Math.ceil((this.virtualSizeBytes - start) / this.clusterBytes));
      for (let entry = 0; entry < entries; entry++) {
        const used = this.hostBytesOf(table, entry);
        if (used < 0) continue;
        hostBytes += used;
        const closed = merger.push(start + entry * this.clusterBytes, this.clusterBytes);
        if (closed !== undefined) yield closed;
      }
      if (hostBytes > this.source.sizeBytes + this.clusterBytes) throw broken('qcow2 clusters are used more than once');
    }
    const last = merger.end();
    if (last !== undefined) yield last;
  }

  async read(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    const runs: HostRun[] = [];
    const groups: CompressedGroup[] = [];
    const end = Math.min(offset + target.length, this.virtualSizeBytes);
    let at = offset;
    while (at < end) {
      const cluster = Math.floor(at / this.clusterBytes);
      const table = await this.tableOf(Math.floor(cluster / this.entriesPerTable), signal);
      // One table answers for many clusters; staying in it avoids an await per cluster.
      const tableEnd = (Math.floor(cluster / this.entriesPerTable) + 1) * this.entriesPerTable * this.clusterBytes;
      const stop = Math.min(end, tableEnd);
      if (table === undefined) target.fill(0, at - offset, stop - offset);
      else this.mapRange(table, at, stop, offset, target, runs, groups);
      at = stop;
    }
    target.fill(0, Math.max(0, end - offset));
    await readRuns(this.source, runs, target, signal);
    const unpack = (stored: Buffer): Buffer => decompressBlock(this.codec, stored, this.clusterBytes);
    await readCompressed(this.source, groups, unpack, target, signal);
  }

  close(): Promise<void> {
    return this.source.close();
  }

  private async tableOf(index: number, signal?: AbortSignal): Promise<Buffer | undefined> {
    const offset = this.tableOffset(index);
    return offset === 0 ? undefined : this.tables.get(offset, signal);
  }

  private tableOffset(index: number): number {
    const high = this.l1.readUInt32BE(index * 8) & HIGH_OFFSET_MASK;
    return high * 2 ** 32 + ((this.l1.readUInt32BE(index * 8 + 4) & LOW_OFFSET_MASK) >>> 0);
  }

  private tableOffsetsAfter(index: number): number[] {
    const offsets: number[] = [];
    const last = Math.min(index + this.tables.readAhead, this.l1.length / 8 - 1);
    for (let next = index + 1; next <= last; next++) {
      const offset = this.tableOffset(next);
      if (offset !== 0) offsets.push(offset);
    }
    return offsets;
  }

  private async loadTable(offset: number): Promise<Buffer> {
    if (offset % this.clusterBytes !== 0 || offset + this.clusterBytes > this.source.sizeBytes)
      throw broken('a qcow2 L2 table lies outside the file');
    const table = Buffer.alloc(this.clusterBytes);
    await this.source.read(offset, table);
    return table;
  }

  /** File bytes a cluster surely has for itself, or -1 when it is a hole. */
  private hostBytesOf(table: Buffer, entry: number): number {
    const high = table.readUInt32BE(entry * 8);
    // The first and the last sector may be shared with the neighbours; a compressed cluster has at least a few bytes.
    if (high & HIGH_COMPRESSED) return Math.max(8, (this.sectorsOf(high) - 2) * SECTOR_BYTES);
    const low = table.readUInt32BE(entry * 8 + 4);
    if ((low & LOW_ZERO) !== 0) return -1;
    return (high & HIGH_OFFSET_MASK) === 0 && (low & LOW_OFFSET_MASK) === 0 ? -1 : this.clusterBytes;
  }

  /** Sectors a compressed cluster touches, the partly used first one included. */
  private sectorsOf(high: number): number {
    return ((high & 0x3fffffff) >>> (this.offsetBits - 32)) + 1;
  }

  private mapRange(
    table: Buffer,
    from: number,
    to: number,
    origin: number,
    target: Uint8Array,
    runs: HostRun[],
    groups: CompressedGroup[],
  ): void {
    let at = from;
    while (at < to) {
      const inCluster = at % this.clusterBytes;
      const length = Math.min(this.clusterBytes - inCluster, to - at);
      const entry = Math.floor(at / this.clusterBytes) % this.entriesPerTable;
      const high = table.readUInt32BE(entry * 8);
      const low = table.readUInt32BE(entry * 8 + 4);
      const targetOffset = at - origin;
      if (high & HIGH_COMPRESSED) {
        const hostOffset = (high & (2 ** (this.offsetBits - 32) - 1)) * 2 ** 32 + low;
        const sectorStart = hostOffset - (hostOffset % SECTOR_BYTES);
        if (hostOffset >= this.source.sizeBytes) throw broken('a compressed qcow2 cluster lies outside the file');
        // The last sector of the file may be a partial one.
        const hostEnd = Math.min(sectorStart + this.sectorsOf(high) * SECTOR_BYTES, this.source.sizeBytes);
        pushCompressed(groups, {
          hostOffset,
          hostBytes: hostEnd - hostOffset,
          guestOffset: at - inCluster,
          inCluster,
          targetOffset,
          length,
        });
      } else {
        const hostOffset = (high & HIGH_OFFSET_MASK) * 2 ** 32 + ((low & LOW_OFFSET_MASK) >>> 0);
        if ((low & LOW_ZERO) !== 0 || hostOffset === 0) target.fill(0, targetOffset, targetOffset + length);
        else {
          if (hostOffset % this.clusterBytes !== 0) throw broken('a qcow2 cluster is not aligned');
          if (hostOffset + inCluster + length > this.source.sizeBytes)
            throw broken('a qcow2 cluster lies outside the file');
          pushRun(runs, { hostOffset: hostOffset + inCluster, targetOffset, length });
        }
      }
      at += length;
    }
  }
}
