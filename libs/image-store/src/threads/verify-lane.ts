import { setImmediate as nextTurn } from 'node:timers/promises';
import { StoredBytesDamagedError } from '../errors';
import { decompressFrame, frameChecksum } from '../layout/frame';
import {
  FRAME_BYTES,
  FRAMES_PER_SEGMENT,
  HASH_BYTES,
  hashLeaves,
  LEAVES_PER_SEGMENT,
  SEGMENT_BYTES,
  segmentRoot,
} from '../layout/segment';
import { openAz } from '../placement/directory-az';
import { BlockBuffer, PackReader } from '../placement/pack-reader';
import type { AskOwner, VerifyUnit, VerifyWork } from './thread-protocol';

/**
 * Reads segments back from the packs and recomputes everything: shard blocks, footer against index, frames, leaves, roots.
 * Fails with `StoredBytesDamagedError` at the first difference.
 */
export async function runVerifyLane(work: VerifyWork, ask: AskOwner, signal: AbortSignal): Promise<void> {
  const az = openAz(work.az);
  const room = {
    blocks: new BlockBuffer(),
    plain: Buffer.allocUnsafeSlow(SEGMENT_BYTES),
    leaves: Buffer.allocUnsafeSlow(LEAVES_PER_SEGMENT * HASH_BYTES),
  };
  let pack: PackReader | undefined;
  try {
    let unit = await ask('nextUnit', { verified: 0 });
    let verified = 0;
    while (unit !== null) {
      // Asked for before this one is done, so the lane never waits for the index.
      const following = ask('nextUnit', { verified });
      verified = 0;
      if (pack?.packId !== unit.packId) {
        await pack?.close();
        pack = undefined;
        pack = await openPack(unit.packId, work, az);
      }
      for (const segment of unit.segments) {
        await verifySegment(pack, segment, room);
        verified += segment.count;
        signal.throwIfAborted();
        await nextTurn();
      }
      unit = await following;
    }
  } finally {
    await pack?.close();
  }
}

async function openPack(packId: string, work: VerifyWork, az: ReturnType<typeof openAz>): Promise<PackReader> {
  const pack = await PackReader.open(az, packId);
  if (pack === undefined) throw new StoredBytesDamagedError(`pack ${packId}: is missing`);
  if (pack.domainId === work.domainId) return pack;
  await pack.close();
  throw new StoredBytesDamagedError(`pack ${packId}: belongs to domain ${pack.domainId}`);
}

async function verifySegment(
  pack: PackReader,
  expected: VerifyUnit['segments'][number],
  room: { blocks: BlockBuffer; plain: Buffer; leaves: Buffer },
): Promise<void> {
  const key = Buffer.from(expected.key);
  const where = `pack ${pack.packId}: segment ${key.toString('hex')}`;
  const packed = pack.find(key);
  if (packed === undefined) throw new StoredBytesDamagedError(`${where}: is not in the footer`);
  if (
    packed.offset !== expected.offset ||
    packed.frameLengths.join() !== expected.frameLengths.join() ||
    packed.frameChecksums.join() !== expected.frameChecksums.join()
  ) {
    throw new StoredBytesDamagedError(`${where}: index and footer disagree`);
  }
  const stored = await pack.readChecked(packed, room.blocks);
  let at = 0;
  for (let frame = 0; frame < FRAMES_PER_SEGMENT; frame += 1) {
    const bytes = stored.subarray(at, at + (packed.frameLengths[frame] ?? 0));
    if (frameChecksum(bytes) !== packed.frameChecksums[frame]) {
      throw new StoredBytesDamagedError(`${where}: frame ${frame} differs from its checksum`);
    }
    decompressFrame(bytes, `${where}: frame ${frame}`, room.plain.subarray(frame * FRAME_BYTES));
    at += bytes.length;
  }
  hashLeaves(room.plain, room.leaves);
  if (!room.leaves.equals(packed.leaves)) throw new StoredBytesDamagedError(`${where}: leaf hashes differ`);
  if (!segmentRoot(room.leaves).equals(expected.root)) throw new StoredBytesDamagedError(`${where}: root differs`);
}
