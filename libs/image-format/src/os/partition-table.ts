import { type DiskView, UnreadableError } from './disk-view';

/** What a partition is for, as far as its type says so; `data` is everything else. */
export type PartitionRole = 'efi-system' | 'bios-boot' | 'data';

export interface Partition {
  /** As operating systems count them; 0 when the disk has no partition table and is one file system. */
  number: number;
  offset: number;
  sizeBytes: number;
  role: PartitionRole;
}

export interface PartitionTable {
  scheme: 'gpt' | 'mbr' | 'none';
  partitions: Partition[];
  /** The first sector holds boot code, which only BIOS firmware runs. */
  hasBootCode: boolean;
  /** Damage that was noticed and worked around. */
  notes: string[];
}

const MBR_ENTRIES_OFFSET = 446;
const BOOT_CODE_BYTES = 440;
const MBR_TYPE_GPT = 0xee;
const MBR_TYPE_EFI = 0xef;
const MBR_TYPES_EXTENDED = [0x05, 0x0f, 0x85];
/** A chain of logical partitions longer than this is a loop or a joke. */
const LOGICAL_LIMIT = 32;
/** Linux and Windows make tables of 128 entries. */
const GPT_ENTRY_LIMIT = 256;

/** Type GUIDs as they lie on the disk (first three fields little endian). */
const GPT_ROLES: Record<string, PartitionRole> = {
  '28732ac11ff8d211ba4b00a0c93ec93b': 'efi-system',
  '4861682149646f6e744e656564454649': 'bios-boot',
};

/** Reads MBR (with logical partitions) or GPT (with its second copy where the first is damaged). Partitions outside the disk are noted and left out. */
export async function readPartitionTable(view: DiskView): Promise<PartitionTable> {
  const none: PartitionTable = { scheme: 'none', partitions: [], hasBootCode: false, notes: [] };
  if (view.sizeBytes < 1024) return none;
  const mbr = await view.bytes(0, 512);
  const hasBootCode = mbr.subarray(0, BOOT_CODE_BYTES).some((byte) => byte !== 0);
  for (const sectorBytes of [512, 4096]) {
    const notes: string[] = [];
    const gpt = await readGpt(view, sectorBytes, notes);
    if (gpt !== undefined) return { scheme: 'gpt', partitions: inside(view, gpt, notes), hasBootCode, notes };
  }
  if (mbr.readUInt16LE(510) !== 0xaa55) return none;
  const notes: string[] = [];
  const partitions = inside(view, await readMbr(view, mbr, notes), notes);
  // The boot sector of a file system has the same signature; nonsense where the entries should be shows it for what it is.
  if (partitions.length === 0) return none;
  return { scheme: 'mbr', partitions, hasBootCode, notes };
}

function inside(view: DiskView, partitions: Partition[], notes: string[]): Partition[] {
  return partitions.filter(({ number, offset, sizeBytes }) => {
    const fits = offset > 0 && sizeBytes > 0 && offset + sizeBytes <= view.sizeBytes;
    if (!fits) notes.push(`partition ${number} lies outside the disk`);
    return fits;
  });
}

async function readGpt(view: DiskView, sectorBytes: number, notes: string[]): Promise<Partition[] | undefined> {
  const places = [sectorBytes, Math.floor(view.sizeBytes / sectorBytes - 1) * sectorBytes];
  for (const place of places) {
    if (place + 512 > view.sizeBytes || place < sectorBytes) continue;
    const header = await view.bytes(place, 512);
    if (header.toString('latin1', 0, 8) !== 'EFI PART') continue;
    const entriesAt = Number(header.readBigUInt64LE(72)) * sectorBytes;
    const count = header.readUInt32LE(80);
    const entryBytes = header.readUInt32LE(84);
    if (count > GPT_ENTRY_LIMIT || entryBytes < 128 || entryBytes > 512 || entryBytes % 8 !== 0) {
      notes.push(`GPT header at ${place} describes ${count} entries of ${entryBytes} bytes`);
      continue;
    }
    try {
      return await readGptEntries(view, sectorBytes, entriesAt, count, entryBytes);
    } catch (error) {
      if (!(error instanceof UnreadableError)) throw error;
      notes.push(`GPT entries at ${entriesAt}: ${error.message}`);
    }
  }
  return undefined;
}

async function readGptEntries(
  view: DiskView,
  sectorBytes: number,
  entriesAt: number,
  count: number,
  entryBytes: number,
): Promise<Partition[]> {
  const partitions: Partition[] = [];
  for (let k = 0; k < count; k++) {
    const entry = await view.bytes(entriesAt + k * entryBytes, 128);
    const type = entry.toString('hex', 0, 16);
    if (/^0+$/.test(type)) continue;
    const first = Number(entry.readBigUInt64LE(32));
    const last = Number(entry.readBigUInt64LE(40));
    partitions.push({
      number: k + 1,
      offset: first * sectorBytes,
      sizeBytes: (last - first + 1) * sectorBytes,
      role: GPT_ROLES[type] ?? 'data',
    });
  }
  return partitions;
}

interface MbrEntry {
  type: number;
  start: number;
  sectors: number;
}

const mbrEntry = (sector: Buffer, k: number): MbrEntry => ({
  type: sector.readUInt8(MBR_ENTRIES_OFFSET + k * 16 + 4),
  start: sector.readUInt32LE(MBR_ENTRIES_OFFSET + k * 16 + 8),
  sectors: sector.readUInt32LE(MBR_ENTRIES_OFFSET + k * 16 + 12),
});

async function readMbr(view: DiskView, mbr: Buffer, notes: string[]): Promise<Partition[]> {
  const partitions: Partition[] = [];
  for (let k = 0; k < 4; k++) {
    const { type, start, sectors } = mbrEntry(mbr, k);
    if (type === 0 || type === MBR_TYPE_GPT || sectors === 0) continue;
    if (MBR_TYPES_EXTENDED.includes(type)) partitions.push(...(await readLogical(view, start, notes)));
    else partitions.push(mbrPartition(k + 1, type, start, sectors));
  }
  return partitions;
}

async function readLogical(view: DiskView, extendedStart: number, notes: string[]): Promise<Partition[]> {
  const partitions: Partition[] = [];
  let start = extendedStart;
  try {
    for (let k = 0; k < LOGICAL_LIMIT; k++) {
      const sector = await view.bytes(start * 512, 512);
      if (sector.readUInt16LE(510) !== 0xaa55) return partitions;
      const { type, start: first, sectors } = mbrEntry(sector, 0);
      // Logical partitions count from 5 (1 to 4 are the places in the MBR).
      if (type !== 0 && sectors !== 0) partitions.push(mbrPartition(5 + k, type, start + first, sectors));
      const next = mbrEntry(sector, 1);
      if (next.start === 0) return partitions;
      start = extendedStart + next.start;
    }
    notes.push('the chain of logical partitions does not end');
  } catch (error) {
    if (!(error instanceof UnreadableError)) throw error;
    notes.push(`logical partitions: ${error.message}`);
  }
  return partitions;
}

const mbrPartition = (number: number, type: number, start: number, sectors: number): Partition => ({
  number,
  offset: start * 512,
  sizeBytes: sectors * 512,
  role: type === MBR_TYPE_EFI ? 'efi-system' : 'data',
});
