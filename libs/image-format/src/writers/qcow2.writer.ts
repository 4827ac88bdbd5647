import { dataSegments, type DiskBytes, SEGMENT_BYTES, wholeSectorBytes } from './disk-bytes';
import { fixedSection, joinSections, madeSection, type PositionedFile, segmentSection } from './positioned-file';

// qemu's own choice: every reader has been tried with it.
const CLUSTER_BITS = 16;
const CLUSTER_BYTES = 2 ** CLUSTER_BITS;
const CLUSTERS_PER_SEGMENT = SEGMENT_BYTES / CLUSTER_BYTES;
const ENTRIES_PER_TABLE = CLUSTER_BYTES / 8;
/** Guest bytes behind one second-level table. */
const TABLE_SPAN_BYTES = ENTRIES_PER_TABLE * CLUSTER_BYTES;
// Counts of 16 bits.
const REFCOUNT_ORDER = 4;
const COUNTS_PER_BLOCK = CLUSTER_BYTES / 2;
const HEADER_BYTES = 104;
/** Set where exactly one reference exists, which is everywhere here. */
const COPIED = 1n << 63n;

const clustersFor = (bytes: number): number => Math.ceil(bytes / CLUSTER_BYTES);

/**
 * A disk as QCOW2, version 3, without compression (image-formats 1): header, tables, then every segment that may hold data. Where each byte lies
 * follows from the segments alone, so any part of the file can be made by itself, and again by whoever goes on with it. Every stored cluster is
 * counted once, so `qemu-img check` finds nothing.
 *
 * @example for await (const chunk of writeQcow2(disk).read({ offset: 0, length: 65_536 })) socket.write(chunk);
 */
export function writeQcow2(disk: DiskBytes): PositionedFile {
  const sizeBytes = wholeSectorBytes(disk);
  const segments = dataSegments(disk);
  const tableCount = Math.ceil(sizeBytes / TABLE_SPAN_BYTES);
  // Only tables with something in them are there.
  const tables = tablesOf(segments);
  const clustersInLast = clustersFor(Math.min(SEGMENT_BYTES, sizeBytes - (segments.at(-1) ?? 0) * SEGMENT_BYTES));
  const dataClusters = segments.length === 0 ? 0 : (segments.length - 1) * CLUSTERS_PER_SEGMENT + clustersInLast;
  const level1Clusters = Math.max(1, clustersFor(tableCount * 8));

  // The blocks of counts count themselves.
  let blocks = 0;
  let countTableClusters = 0;
  let total = 0;
  for (let before = -1; before !== blocks;) {
    before = blocks;
    countTableClusters = Math.max(1, clustersFor(blocks * 8));
    total = 1 + level1Clusters + countTableClusters + blocks + tables.length + dataClusters;
    blocks = Math.ceil(total / COUNTS_PER_BLOCK);
  }

  const level1At = 1;
  const countTableAt = level1At + level1Clusters;
  const blocksAt = countTableAt + countTableClusters;
  const tablesAt = blocksAt + blocks;
  const dataAt = tablesAt + tables.length;

  const header = Buffer.alloc(CLUSTER_BYTES);
  header.write('QFI\xfb', 0, 'latin1');
  header.writeUInt32BE(3, 4);
  header.writeUInt32BE(CLUSTER_BITS, 20);
  header.writeBigUInt64BE(BigInt(sizeBytes), 24);
  header.writeUInt32BE(tableCount, 36);
  header.writeBigUInt64BE(BigInt(level1At * CLUSTER_BYTES), 40);
  header.writeBigUInt64BE(BigInt(countTableAt * CLUSTER_BYTES), 48);
  header.writeUInt32BE(countTableClusters, 56);
  header.writeUInt32BE(REFCOUNT_ORDER, 96);
  header.writeUInt32BE(HEADER_BYTES, 100);

  const level1 = Buffer.alloc(level1Clusters * CLUSTER_BYTES);
  tables.forEach(({ number }, n) => {
    level1.writeBigUInt64BE(COPIED | BigInt((tablesAt + n) * CLUSTER_BYTES), number * 8);
  });
  const countTable = Buffer.alloc(countTableClusters * CLUSTER_BYTES);
  for (let n = 0; n < blocks; n += 1) countTable.writeBigUInt64BE(BigInt((blocksAt + n) * CLUSTER_BYTES), n * 8);

  const guestClusters = clustersFor(sizeBytes);
  return joinSections([
    fixedSection(header),
    fixedSection(level1),
    fixedSection(countTable),
    madeSection(CLUSTER_BYTES, blocks, (n) => {
      const block = Buffer.alloc(CLUSTER_BYTES);
      const counted = Math.min(COUNTS_PER_BLOCK, total - n * COUNTS_PER_BLOCK);
      for (let at = 0; at < counted; at += 1) block.writeUInt16BE(1, at * 2);
      return block;
    }),
    madeSection(CLUSTER_BYTES, tables.length, (n) => {
      const table = Buffer.alloc(CLUSTER_BYTES);
      const { number, from, to } = tables[n] ?? { number: 0, from: 0, to: 0 };
      for (let rank = from; rank < to; rank += 1) {
        const guest = (segments[rank] ?? 0) * CLUSTERS_PER_SEGMENT;
        for (let k = 0; k < CLUSTERS_PER_SEGMENT && guest + k < guestClusters; k += 1) {
          const host = BigInt((dataAt + rank * CLUSTERS_PER_SEGMENT + k) * CLUSTER_BYTES);
          table.writeBigUInt64BE(COPIED | host, (guest + k - number * ENTRIES_PER_TABLE) * 8);
        }
      }
      return table;
    }),
    segmentSection(disk, segments, { head: Buffer.alloc(0), lastBytes: clustersInLast * CLUSTER_BYTES }),
  ]);
}

/** The second-level tables that name something, and which of the segments each names. */
function tablesOf(segments: Uint32Array): { number: number; from: number; to: number }[] {
  const tables: { number: number; from: number; to: number }[] = [];
  segments.forEach((index, rank) => {
    const number = Math.floor((index * SEGMENT_BYTES) / TABLE_SPAN_BYTES);
    const last = tables.at(-1);
    if (last?.number === number) last.to = rank + 1;
    else tables.push({ number, from: rank, to: rank + 1 });
  });
  return tables;
}
