import { StoredBytesDamagedError } from '../errors';
import type { PackedSegment } from '../layout/pack-format';
import type { DomainSeal } from '../layout/seal';
import type { AzStore } from '../placement/az-store.port';
import { PackReader } from '../placement/pack-reader';
import type { SegmentUnit } from './thread-protocol';

export type UnitSegment = SegmentUnit['segments'][number];

/** The pack that a lane reads from, unit after unit: opened when a unit lies in another one. */
export class UnitPacks {
  private pack: PackReader | undefined;

  constructor(
    private readonly az: AzStore,
    private readonly domainId: string,
    private readonly seal: DomainSeal | undefined,
  ) {}

  /** Throws `StoredBytesDamagedError` when it is missing, another domain's, or not sealed where it has to be. */
  async open(packId: string): Promise<PackReader> {
    if (this.pack?.packId === packId) return this.pack;
    await this.close();
    const pack = await PackReader.open(this.az, packId);
    if (pack === undefined) throw new StoredBytesDamagedError(`pack ${packId}: is missing`);
    this.pack = pack;
    if (pack.domainId !== this.domainId)
      throw new StoredBytesDamagedError(`pack ${packId}: belongs to domain ${pack.domainId}`);
    if (pack.isSealed !== (this.seal !== undefined))
      throw new StoredBytesDamagedError(`pack ${packId}: ${pack.isSealed ? 'is sealed' : 'is not sealed'}`);
    return pack;
  }

  async close(): Promise<void> {
    const { pack } = this;
    this.pack = undefined;
    await pack?.close();
  }
}

/** The footer's row of a segment. Throws `StoredBytesDamagedError` unless the index says the same. */
export function packedAs(pack: PackReader, expected: UnitSegment): { packed: PackedSegment; where: string } {
  const key = Buffer.from(expected.key);
  const where = `pack ${pack.packId}: segment ${key.toString('hex')}`;
  const packed = pack.find(key);
  if (packed === undefined) throw new StoredBytesDamagedError(`${where}: is not in the footer`);
  if (
    packed.offset !== expected.offset ||
    packed.frameLengths.join() !== expected.frameLengths.join() ||
    packed.frameChecksums.join() !== expected.frameChecksums.join() ||
    joined(packed.frameNonces) !== joined(expected.frameNonces)
  ) {
    throw new StoredBytesDamagedError(`${where}: index and footer disagree`);
  }
  return { packed, where };
}

const joined = (nonces: readonly Uint8Array[] | undefined): string =>
  nonces === undefined ? '' : Buffer.concat(nonces).toString('latin1');
