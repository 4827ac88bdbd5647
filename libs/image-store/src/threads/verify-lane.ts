import { setImmediate as nextTurn } from 'node:timers/promises';
import { StoredBytesDamagedError } from '../errors';
import { decompressFrame, frameChecksum } from '../layout/frame';
import { DomainSeal } from '../layout/seal';
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
import { BlockBuffer, type PackReader } from '../placement/pack-reader';
import type { AskOwner, VerifyWork } from './thread-protocol';
import { packedAs, type UnitSegment, UnitPacks } from './unit-packs';

interface Room {
  blocks: BlockBuffer;
  plain: Buffer;
  leaves: Buffer;
}

/**
 * Reads segments back from the packs and recomputes everything: shard blocks, footer against index, seals, frames, leaves, roots.
 * Fails with `StoredBytesDamagedError` at the first difference.
 */
export async function runVerifyLane(work: VerifyWork, ask: AskOwner, signal: AbortSignal): Promise<void> {
  const seal = work.dataKey === undefined ? undefined : new DomainSeal(work.domainId, work.dataKey);
  work.dataKey?.fill(0);
  const packs = new UnitPacks(openAz(work.az), work.domainId, seal);
  const room = {
    blocks: new BlockBuffer(),
    plain: Buffer.allocUnsafeSlow(SEGMENT_BYTES),
    leaves: Buffer.allocUnsafeSlow(LEAVES_PER_SEGMENT * HASH_BYTES),
  };
  try {
    let unit = await ask('nextUnit', { done: 0 });
    let verified = 0;
    while (unit !== null) {
      // Asked for before this one is done, so the lane never waits for the index.
      const following = ask('nextUnit', { done: verified });
      verified = 0;
      const pack = await packs.open(unit.packId);
      for (const segment of unit.segments) {
        await verifySegment(pack, segment, seal, room);
        verified += segment.indexes.length;
        signal.throwIfAborted();
        await nextTurn();
      }
      unit = await following;
    }
  } finally {
    await packs.close();
    seal?.wipe();
  }
}

async function verifySegment(
  pack: PackReader,
  expected: UnitSegment,
  domain: DomainSeal | undefined,
  room: Room,
): Promise<void> {
  const { packed, where } = packedAs(pack, expected);
  const seal = domain?.segment(packed.key);
  const stored = await pack.readChecked(packed, room.blocks);
  let at = 0;
  for (let frame = 0; frame < FRAMES_PER_SEGMENT; frame += 1) {
    const bytes = stored.subarray(at, at + (packed.frameLengths[frame] ?? 0));
    const place = `${where}: frame ${frame}`;
    if (frameChecksum(bytes) !== packed.frameChecksums[frame])
      throw new StoredBytesDamagedError(`${place} differs from its checksum`);
    const opened = seal?.openFrame(frame, packed.frameNonces?.[frame], bytes, place) ?? bytes;
    decompressFrame(opened, place, room.plain.subarray(frame * FRAME_BYTES));
    at += bytes.length;
  }
  hashLeaves(room.plain, room.leaves);
  const leaves = seal?.openLeaves(packed.leaves, `${where}: leaf hashes`) ?? packed.leaves;
  if (!room.leaves.equals(leaves)) throw new StoredBytesDamagedError(`${where}: leaf hashes differ`);
  const root = segmentRoot(room.leaves);
  if (!(domain?.nameOf(root) ?? root).equals(expected.root))
    throw new StoredBytesDamagedError(`${where}: root differs`);
}
