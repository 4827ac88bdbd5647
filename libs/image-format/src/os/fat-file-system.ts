import { type DiskView, UnreadableError } from './disk-view';

const ENTRY_BYTES = 32;
const ATTRIBUTE_FOLDER = 0x10;
const ATTRIBUTE_LABEL = 0x08;
/** Numbers of clusters that separate FAT12, FAT16 and FAT32 (Microsoft FAT specification 1.03, "FAT Type Determination"). */
const FAT12_BELOW = 4085;
const FAT16_BELOW = 65_525;
/** A boot folder holds a handful of entries; 64 KiB are two thousand. */
const FOLDER_BYTES = 64 * 1024;

/** Just enough of FAT12, FAT16 and FAT32 to see whether a file is there, by its 8.3 name. Throws `UnreadableError`. */
export class FatFileSystem {
  private constructor(
    private readonly view: DiskView,
    private readonly fatOffset: number,
    private readonly rootOffset: number,
    private readonly rootBytes: number,
    private readonly rootCluster: number,
    private readonly dataOffset: number,
    private readonly clusterBytes: number,
    private readonly clusterCount: number,
    private readonly width: 12 | 16 | 32,
  ) {}

  static async open(view: DiskView, span: { offset: number; sizeBytes: number }): Promise<FatFileSystem> {
    const boot = await view.bytes(span.offset, 512);
    const sectorBytes = boot.readUInt16LE(11);
    const perCluster = boot.readUInt8(13);
    const reserved = boot.readUInt16LE(14);
    const rootEntries = boot.readUInt16LE(17);
    const fatSectors = boot.readUInt16LE(22) || boot.readUInt32LE(36);
    const sectors = boot.readUInt16LE(19) || boot.readUInt32LE(32);
    const isPower = (value: number): boolean => value > 0 && (value & (value - 1)) === 0;
    if (!isPower(sectorBytes) || sectorBytes < 512 || sectorBytes > 4096 || !isPower(perCluster) || reserved === 0) {
      throw new UnreadableError('FAT: the boot sector is damaged');
    }
    const fatOffset = span.offset + reserved * sectorBytes;
    const rootOffset = fatOffset + boot.readUInt8(16) * fatSectors * sectorBytes;
    const rootBytes = rootEntries * ENTRY_BYTES;
    const dataOffset = rootOffset + Math.ceil(rootBytes / sectorBytes) * sectorBytes;
    const clusterBytes = perCluster * sectorBytes;
    const clusterCount = Math.floor((span.offset + sectors * sectorBytes - dataOffset) / clusterBytes);
    if (clusterCount < 1) throw new UnreadableError('FAT: the boot sector is damaged');
    const width = clusterCount < FAT12_BELOW ? 12 : clusterCount < FAT16_BELOW ? 16 : 32;
    return new FatFileSystem(
      view,
      fatOffset,
      rootOffset,
      rootBytes,
      boot.readUInt32LE(44),
      dataOffset,
      clusterBytes,
      clusterCount,
      width,
    );
  }

  /** Whether a file is there; names are compared without regard to case, as FAT does. */
  async has(path: string): Promise<boolean> {
    const names = path.split('/').filter((name) => name !== '');
    let folder = this.width === 32 ? this.rootCluster : 0;
    for (const [depth, name] of names.entries()) {
      const entry = await this.entry(folder, name);
      if (entry === undefined) return false;
      if (depth === names.length - 1) return true;
      if (!entry.isFolder) return false;
      folder = entry.cluster;
    }
    return false;
  }

  /** Folder 0 is the fixed root of FAT12 and FAT16. */
  private async entry(folder: number, name: string): Promise<{ cluster: number; isFolder: boolean } | undefined> {
    const [base = '', extension = ''] = name.toUpperCase().split('.');
    const wanted = base.padEnd(8) + extension.padEnd(3);
    for await (const block of folder === 0 ? this.fixedRoot() : this.chain(folder)) {
      for (let at = 0; at + ENTRY_BYTES <= block.length; at += ENTRY_BYTES) {
        if (block.readUInt8(at) === 0) return undefined;
        const attributes = block.readUInt8(at + 11);
        // Pieces of long names carry the label attribute, too; each belongs to a short name that follows.
        if ((attributes & ATTRIBUTE_LABEL) !== 0 || block.toString('latin1', at, at + 11) !== wanted) continue;
        const high = this.width === 32 ? block.readUInt16LE(at + 20) : 0;
        return {
          cluster: high * 0x10000 + block.readUInt16LE(at + 26),
          isFolder: (attributes & ATTRIBUTE_FOLDER) !== 0,
        };
      }
    }
    return undefined;
  }

  private async *fixedRoot(): AsyncGenerator<Buffer, void, undefined> {
    for (let done = 0; done < Math.min(this.rootBytes, FOLDER_BYTES); done += 512) {
      yield await this.view.bytes(this.rootOffset + done, 512);
    }
  }

  private async *chain(first: number): AsyncGenerator<Buffer, void, undefined> {
    let cluster = first;
    for (let done = 0; done < FOLDER_BYTES; done += this.clusterBytes) {
      // Cluster numbers begin at 2; everything behind the last one marks an end (or damage, which ends the folder, too).
      if (cluster < 2 || cluster >= this.clusterCount + 2) return;
      const start = this.dataOffset + (cluster - 2) * this.clusterBytes;
      for (let within = 0; within < this.clusterBytes; within += 512) yield await this.view.bytes(start + within, 512);
      cluster = await this.next(cluster);
    }
  }

  private async next(cluster: number): Promise<number> {
    switch (this.width) {
      case 32:
        return (await this.view.bytes(this.fatOffset + cluster * 4, 4)).readUInt32LE(0) & 0x0fffffff;
      case 16:
        return (await this.view.bytes(this.fatOffset + cluster * 2, 2)).readUInt16LE(0);
      case 12: {
        const pair = (await this.view.bytes(this.fatOffset + Math.floor(cluster * 1.5), 2)).readUInt16LE(0);
        return cluster % 2 === 0 ? pair & 0xfff : pair >>> 4;
      }
      default:
        return this.width satisfies never;
    }
  }
}
