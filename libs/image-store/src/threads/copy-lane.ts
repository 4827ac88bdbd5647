import { setImmediate as nextTurn } from 'node:timers/promises';
import { StoredBytesDamagedError } from '../errors';
import { frameChecksum } from '../layout/frame';
import type { PackedSegment } from '../layout/pack-format';
import { DomainSeal } from '../layout/seal';
import { segmentRoot, storageKey } from '../layout/segment';
import { openAz } from '../placement/directory-az';
import { BlockBuffer, type PackReader } from '../placement/pack-reader';
import { LanePacks } from './lane-packs';
import type { AskOwner, CopyWork, LookupEntry, ThreadDomain } from './thread-protocol';
import { packedAs, type UnitSegment, UnitPacks } from './unit-packs';

interface Renamed {
  packed: PackedSegment;
  where: string;
  leaves: Buffer;
  root: Buffer;
  key: Buffer;
  indexes: number[];
}

/**
 * Copies segments of a stored disk into another domain: their names by the leaf hashes that lie beside them, their frames only where the domain does not
 * have them yet, and those as they are but for the seal. What the frames decode to is for `verify` to find out.
 */
export async function runCopyLane(work: CopyWork, ask: AskOwner, signal: AbortSignal): Promise<void> {
  const from = sealOf(work.from);
  const to = sealOf(work);
  const az = openAz(work.az);
  const source = new UnitPacks(az, work.from.domainId, from);
  const packs = new LanePacks(az, { ...work, seal: to }, ask);
  const blocks = new BlockBuffer();
  try {
    for (;;) {
      const unit = await ask('nextUnit', { done: 0 });
      if (unit === null) break;
      const pack = await source.open(unit.packId);
      const segments = unit.segments.map((segment) => rename(pack, segment, from, to, work.domainSecret));
      const entries: LookupEntry[] = segments.flatMap(({ indexes, root, key }) =>
        indexes.map((index) => ({ index, root, key })),
      );
      const missing = new Set(await ask('lookup', entries));
      for (const { indexes, packed, where, ...segment } of segments) {
        const index = indexes.find((each) => missing.has(each));
        if (index === undefined) continue;
        const frames = openFrames(await pack.readChecked(packed, blocks), packed, from, where);
        await packs.write({ ...segment, index, frames });
        signal.throwIfAborted();
        await nextTurn();
      }
    }
    await packs.finish();
  } finally {
    await packs.close();
    await source.close();
    from?.wipe();
    to?.wipe();
  }
}

function sealOf({ domainId, dataKey }: ThreadDomain): DomainSeal | undefined {
  if (dataKey === undefined) return undefined;
  const seal = new DomainSeal(domainId, dataKey);
  dataKey.fill(0);
  return seal;
}

/** What the segment is called in the other domain. Throws `StoredBytesDamagedError` when its leaf hashes are not those of the disk. */
function rename(
  pack: PackReader,
  segment: UnitSegment,
  from: DomainSeal | undefined,
  to: DomainSeal | undefined,
  secret: Uint8Array,
): Renamed {
  const { packed, where } = packedAs(pack, segment);
  const leaves = from?.segment(packed.key).openLeaves(packed.leaves, `${where}: leaf hashes`) ?? packed.leaves;
  const plainRoot = segmentRoot(leaves);
  if (!(from?.nameOf(plainRoot) ?? plainRoot).equals(segment.root))
    throw new StoredBytesDamagedError(`${where}: its leaf hashes are not those of the disk`);
  const root = to?.nameOf(plainRoot) ?? plainRoot;
  return { packed, where, leaves, root, key: storageKey(secret, root), indexes: segment.indexes };
}

function openFrames(stored: Buffer, packed: PackedSegment, domain: DomainSeal | undefined, where: string): Buffer[] {
  const seal = domain?.segment(packed.key);
  let at = 0;
  return packed.frameLengths.map((length, frame) => {
    const bytes = stored.subarray(at, at + length);
    at += length;
    const place = `${where}: frame ${frame}`;
    if (frameChecksum(bytes) !== packed.frameChecksums[frame])
      throw new StoredBytesDamagedError(`${place} differs from its checksum`);
    return seal?.openFrame(frame, packed.frameNonces?.[frame], bytes, place) ?? bytes;
  });
}
