import { open } from 'node:fs/promises';

const SECTOR_BYTES = 512;
const RESERVED_SECTORS = 32;
const ENTRY_BYTES = 32;
const ROOT_ENTRIES = 512;
/** Below this many clusters a volume is FAT12, from the second number on FAT32 (Microsoft FAT specification 1.03, "FAT Type Determination"). */
const FAT16_FROM = 4085;
const FAT32_FROM = 65_525;

interface Cluster {
  number: number;
  bytes: Buffer;
}

/**
 * Writes a FAT volume with one file into `path` at `offset`: FAT32 where `sizeBytes` gives enough clusters (about 33 MiB), else FAT16 (from about
 * 2.2 MiB). `file` is a path of 8.3 names such as `EFI/BOOT/BOOTX64.EFI`; its folders are made.
 */
export async function writeFatVolume(
  path: string,
  offset: number,
  sizeBytes: number,
  file: { path: string; content: Buffer },
): Promise<void> {
  const sectors = Math.floor(sizeBytes / SECTOR_BYTES);
  const isFat32 = sectors - RESERVED_SECTORS - 2 * 512 > FAT32_FROM;
  const entryBytes = isFat32 ? 4 : 2;
  const fatSectors = Math.ceil(((sectors + 2) * entryBytes) / SECTOR_BYTES);
  const rootSectors = isFat32 ? 0 : (ROOT_ENTRIES * ENTRY_BYTES) / SECTOR_BYTES;
  const dataSector = RESERVED_SECTORS + 2 * fatSectors + rootSectors;
  const clusterCount = sectors - dataSector;
  if (clusterCount < FAT16_FROM || (!isFat32 && clusterCount >= FAT32_FROM)) {
    throw new RangeError(`no FAT16 or FAT32 volume of one sector per cluster has ${sizeBytes} bytes`);
  }

  const fat = Buffer.alloc(fatSectors * SECTOR_BYTES);
  const link = (cluster: number, next: number): number =>
    isFat32 ? fat.writeUInt32LE(next, cluster * 4) : fat.writeUInt16LE(next, cluster * 2);
  const endMark = isFat32 ? 0x0fffffff : 0xffff;
  link(0, isFat32 ? 0x0ffffff8 : 0xfff8);
  link(1, endMark);
  const clusters: Cluster[] = [];
  let free = 2;
  const store = (content: Buffer): number => {
    const first = free;
    const count = Math.max(1, Math.ceil(content.length / SECTOR_BYTES));
    for (let k = 0; k < count; k++) {
      clusters.push({ number: free, bytes: content.subarray(k * SECTOR_BYTES, (k + 1) * SECTOR_BYTES) });
      link(free, k === count - 1 ? endMark : free + 1);
      free++;
    }
    return first;
  };

  const names = file.path.split('/');
  const fileName = names.pop() ?? '';
  const rootCluster = isFat32 ? store(Buffer.alloc(SECTOR_BYTES)) : 0;
  let entry = directoryEntry(fileName, store(file.content), file.content.length);
  for (const name of names.reverse()) entry = directoryEntry(name, store(entry), undefined);

  const boot = Buffer.alloc(SECTOR_BYTES);
  boot.set([0xeb, 0xfe, 0x90]);
  boot.write('MSDOS5.0', 3, 'latin1');
  boot.writeUInt16LE(SECTOR_BYTES, 11);
  boot.writeUInt8(1, 13);
  boot.writeUInt16LE(RESERVED_SECTORS, 14);
  boot.writeUInt8(2, 16);
  boot.writeUInt16LE(isFat32 ? 0 : ROOT_ENTRIES, 17);
  boot.writeUInt8(0xf8, 21);
  boot.writeUInt16LE(isFat32 ? 0 : fatSectors, 22);
  boot.writeUInt32LE(sectors, 32);
  if (isFat32) {
    boot.writeUInt32LE(fatSectors, 36);
    boot.writeUInt32LE(rootCluster, 44);
    boot.writeUInt8(0x29, 66);
    boot.write('NO NAME    FAT32   ', 71, 'latin1');
  } else {
    boot.writeUInt8(0x29, 38);
    boot.write('NO NAME    FAT16   ', 43, 'latin1');
  }
  boot.writeUInt16LE(0xaa55, 510);

  const disk = await open(path, 'r+');
  try {
    const put = (bytes: Buffer, sector: number) => disk.write(bytes, 0, bytes.length, offset + sector * SECTOR_BYTES);
    await put(boot, 0);
    await put(fat, RESERVED_SECTORS);
    await put(fat, RESERVED_SECTORS + fatSectors);
    for (const { number, bytes } of clusters) await put(bytes, dataSector + number - 2);
    await put(entry, isFat32 ? dataSector + rootCluster - 2 : RESERVED_SECTORS + 2 * fatSectors);
  } finally {
    await disk.close();
  }
}

/** A short-name entry; folders have no size. */
function directoryEntry(name: string, cluster: number, fileBytes: number | undefined): Buffer {
  const [base = '', extension = ''] = name.split('.');
  const entry = Buffer.alloc(ENTRY_BYTES);
  entry.write(base.padEnd(8) + extension.padEnd(3), 0, 'latin1');
  entry.writeUInt8(fileBytes === undefined ? 0x10 : 0x20, 11);
  entry.writeUInt16LE(Math.floor(cluster / 0x10000), 20);
  entry.writeUInt16LE(cluster % 0x10000, 26);
  entry.writeUInt32LE(fileBytes ?? 0, 28);
  return entry;
}
