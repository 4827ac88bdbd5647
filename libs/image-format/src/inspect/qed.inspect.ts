import { broken } from '../refusal';
import type { FileProbe } from './file-probe';
import { isPowerOfTwo, u64le } from './file-probe';

const FEATURE_BACKING = 1n;
// The image was not closed cleanly: its tables have to be checked before they are trusted (FMT-14).
const FEATURE_NEED_CHECK = 2n;

// An L2 entry for a cluster of zeros.
const ZERO_CLUSTER = 1;

/**
 * Checks a QED header and its L1 table, and all L2 tables when the image was not closed cleanly (image-formats 1, FMT-14); gives the virtual size.
 * Fails with `IMG.0057`.
 */
export async function inspectQed(probe: FileProbe): Promise<number> {
  const { head } = probe;
  if (head.length < 64) throw broken('the QED header is cut off');
  const features = head.readBigUInt64LE(16);
  if (features & FEATURE_BACKING) throw broken('the QED file names a backing file');
  if (features & ~FEATURE_NEED_CHECK) throw broken('the QED file has an unknown feature');
  const clusterBytes = head.readUInt32LE(4);
  const tableClusters = head.readUInt32LE(8);
  // Limits of the format (qemu docs/interop/qed_spec): clusters of 4 KiB to 64 MiB, tables of 1 to 16 clusters.
  if (!isPowerOfTwo(clusterBytes) || clusterBytes < 4096 || clusterBytes > 2 ** 26)
    throw broken('the QED cluster size is out of range');
  if (!isPowerOfTwo(tableClusters) || tableClusters > 16) throw broken('the QED table size is out of range');
  const headerClusters = head.readUInt32LE(12);
  if (headerClusters === 0) throw broken('the QED header size is zero');
  probe.mustHold(0, headerClusters * clusterBytes, 'QED header');
  const tableBytes = tableClusters * clusterBytes;
  const tableEntries = tableBytes / 8;
  const virtualSizeBytes = u64le(head, 48);
  if (virtualSizeBytes > tableEntries * tableEntries * clusterBytes)
    throw broken('the QED tables are too small for the virtual size');
  const l1Offset = u64le(head, 40);
  if (l1Offset < clusterBytes || l1Offset % clusterBytes !== 0) throw broken('the QED L1 table is not aligned');
  probe.mustHold(l1Offset, tableBytes, 'QED L1 table');
  const used = Math.ceil(virtualSizeBytes / (tableEntries * clusterBytes));
  const clusters = (features & FEATURE_NEED_CHECK) === 0n ? undefined : new ClusterUse(probe, clusterBytes);
  for await (const piece of probe.pieces(l1Offset, used * 8, 'QED L1 table')) {
    for (let at = 0; at < piece.length; at += 8) {
      const table = u64le(piece, at);
      if (table === 0) continue;
      if (table % clusterBytes !== 0) throw broken('a QED L2 table is not aligned to a cluster');
      probe.mustHold(table, tableBytes, 'QED L2 table');
      if (clusters !== undefined) await checkTable(probe, table, tableBytes, clusters);
    }
  }
  return virtualSizeBytes;
}

async function checkTable(probe: FileProbe, table: number, tableBytes: number, clusters: ClusterUse): Promise<void> {
  clusters.take(table, tableBytes);
  for await (const piece of probe.pieces(table, tableBytes, 'QED L2 table')) {
    for (let at = 0; at < piece.length; at += 8) {
      const cluster = u64le(piece, at);
      if (cluster !== 0 && cluster !== ZERO_CLUSTER) clusters.take(cluster, clusters.clusterBytes);
    }
  }
}

/** Which clusters of the file are in use: a torn write may leave one in two places. */
class ClusterUse {
  private readonly used: Uint8Array;

  constructor(
    private readonly probe: FileProbe,
    readonly clusterBytes: number,
  ) {
    // One byte per cluster of at least 4 KiB would be 32 MiB for the longest file; a bit each is 4 MiB.
    this.used = new Uint8Array(Math.ceil(probe.sizeBytes / clusterBytes / 8));
  }

  take(offset: number, length: number): void {
    if (offset % this.clusterBytes !== 0) throw broken('a QED cluster is not aligned');
    this.probe.mustHold(offset, length, 'QED cluster');
    for (let cluster = offset / this.clusterBytes; cluster * this.clusterBytes < offset + length; cluster++) {
      const byte = this.used[cluster >> 3] ?? 0;
      if (byte & (1 << (cluster & 7))) throw broken('a QED cluster is used twice');
      this.used[cluster >> 3] = byte | (1 << (cluster & 7));
    }
  }
}
