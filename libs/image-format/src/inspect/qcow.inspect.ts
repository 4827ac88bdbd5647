import { broken } from '../refusal';
import type { FileProbe } from './file-probe';
import { u64be } from './file-probe';

// Bit 63 marks a compressed cluster; it never appears in an L1 entry.
const MAX_L1_BYTES = 32 * 1024 * 1024;

/** Checks a qcow (version 1) header and its L1 table (image-formats 1); gives the virtual size. Fails with `IMG.0057`. */
export async function inspectQcow(probe: FileProbe): Promise<number> {
  const { head } = probe;
  if (head.length < 48) throw broken('the qcow header is cut off');
  if (u64be(head, 8) !== 0 || head.readUInt32BE(16) !== 0) throw broken('the qcow file names a backing file');
  if (head.readUInt32BE(36) !== 0) throw broken('the qcow file is encrypted');
  const virtualSizeBytes = u64be(head, 24);
  const clusterBits = head.readUInt8(32);
  const l2Bits = head.readUInt8(33);
  // qemu's limits (block/qcow.c): clusters of 512 B to 64 KiB, L2 tables of the same range.
  if (clusterBits < 9 || clusterBits > 16) throw broken('the qcow cluster size is out of range');
  if (l2Bits < 6 || l2Bits > 13) throw broken('the qcow L2 table size is out of range');
  const l2Bytes = 2 ** l2Bits * 8;
  const entries = Math.ceil(virtualSizeBytes / 2 ** (clusterBits + l2Bits));
  if (entries * 8 > MAX_L1_BYTES) throw broken('the qcow L1 table is too large');
  const l1Offset = u64be(head, 40);
  for await (const piece of probe.pieces(l1Offset, entries * 8, 'qcow L1 table')) {
    for (let at = 0; at < piece.length; at += 8) {
      const table = u64be(piece, at);
      if (table !== 0) probe.mustHold(table, l2Bytes, 'qcow L2 table');
    }
  }
  return virtualSizeBytes;
}
