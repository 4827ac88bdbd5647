import { broken } from '../refusal';
import type { BlockLayout } from './block-layout';
import { emptyMap, MAX_BLOCKS } from './block-layout';
import type { FileProbe } from './file-probe';
import { u64le } from './file-probe';

const TYPE_DYNAMIC = 1;
const TYPE_STATIC = 2;
// The only version in the field, and the only one that qemu opens.
const VERSION_1_1 = 0x00010001;
// The only block size VirtualBox writes by default and the only one qemu opens.
const BLOCK_BYTES = 1024 * 1024;
// From here on a map entry means "not stored" (unallocated 0xffffffff, discarded 0xfffffffe).
const FIRST_UNSTORED = 0xfffffffe;

/** Checks a VDI header and its block map (image-formats 1); gives where each block lies. Fails with `IMG.0057`. */
export async function inspectVdi(probe: FileProbe): Promise<BlockLayout> {
  const { head } = probe;
  if (head.length < 512) throw broken('the VDI header is cut off');
  if (head.readUInt32LE(68) !== VERSION_1_1) throw broken('the VDI version is unknown');
  const type = head.readUInt32LE(76);
  if (type !== TYPE_DYNAMIC && type !== TYPE_STATIC) throw broken('the VDI file is not a dynamic or static disk');
  if (!isZero(head.subarray(424, 456))) throw broken('the VDI file refers to another file');
  if (head.readUInt32LE(360) !== 512) throw broken('the VDI sector size is not 512 bytes');
  const virtualSizeBytes = u64le(head, 368);
  const blockBytes = head.readUInt32LE(376);
  const blocks = head.readUInt32LE(384);
  const stored = head.readUInt32LE(388);
  if (blockBytes !== BLOCK_BYTES) throw broken('the VDI block size is not 1 MiB');
  // An exact test: more blocks than the size needs is as wrong as fewer (image-formats 1: inconsistent with size).
  if (Math.ceil(virtualSizeBytes / blockBytes) !== blocks)
    throw broken('the VDI block count contradicts the virtual size');
  if (blocks > MAX_BLOCKS) throw broken('the VDI block map is too large');
  if (stored > blocks) throw broken('the VDI file stores more blocks than it has');
  const mapOffset = head.readUInt32LE(340);
  const dataOffset = head.readUInt32LE(344);
  if (mapOffset < 512 || mapOffset % 512 !== 0 || dataOffset % 512 !== 0) throw broken('a VDI table is not aligned');
  if (dataOffset < mapOffset + blocks * 4) throw broken('the VDI block map runs into the data');
  probe.mustHold(mapOffset, blocks * 4, 'VDI block map');
  const hostOffsets = emptyMap(blocks);
  let index = 0;
  const used = new Uint8Array(Math.ceil(blocks / 8));
  for await (const piece of probe.pieces(mapOffset, blocks * 4, 'VDI block map')) {
    for (let at = 0; at < piece.length; at += 4, index++) {
      const block = piece.readUInt32LE(at);
      if (block >= FIRST_UNSTORED) continue;
      if (block >= stored) throw broken('a VDI block lies outside the stored blocks');
      const hostOffset = dataOffset + block * blockBytes;
      probe.mustHold(hostOffset, blockBytes, 'VDI block');
      const byte = used[block >> 3] ?? 0;
      if (byte & (1 << (block & 7))) throw broken('a VDI block is used twice');
      hostOffsets[index] = hostOffset;
      used[block >> 3] = byte | (1 << (block & 7));
    }
  }
  return { virtualSizeBytes, blockBytes, hostOffsets };
}

const isZero = (bytes: Buffer): boolean => bytes.every((byte) => byte === 0);
