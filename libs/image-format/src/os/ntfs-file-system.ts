import { type DiskView, UnreadableError } from './disk-view';
import type { FileTree } from './file-tree';

const ROOT_RECORD = 5;
const ATTRIBUTE_LIST = 0x20;
const ATTRIBUTE_DATA = 0x80;
const ATTRIBUTE_INDEX_ROOT = 0x90;
const ATTRIBUTE_INDEX_ALLOCATION = 0xa0;
const ATTRIBUTES_END = 0xffffffff;
const RECORD_IN_USE = 0x1;
const FLAG_COMPRESSED_OR_ENCRYPTED = 0x40ff;
const ENTRY_HAS_NODE = 0x1;
const ENTRY_LAST = 0x2;
/** Record numbers have 48 bits; the rest of a reference counts how often the record was used. */
const RECORD_NUMBER_MASK = 0xffffffffffffn;
const SECTOR_BYTES = 512;
/** Folders of millions of files are four levels deep. */
const INDEX_DEPTH_LIMIT = 8;
/** A file in so many pieces is no file that a system has just been installed with. */
const RUN_LIMIT = 4096;
/** Names that a listing gives at most; folders of drivers have some hundreds. */
const LIST_LIMIT = 4096;

/** Where a piece of an attribute lies: clusters from `vcn` of it, at `lcn` of the volume; a hole has none. */
interface Run {
  vcn: number;
  clusters: number;
  lcn: number | undefined;
}

interface Attribute {
  type: number;
  name: string;
  flags: number;
  sizeBytes: number;
  /** What lies in the record itself; otherwise `runs` say where it is. */
  resident: Buffer | undefined;
  runs: Run[];
}

interface FileRecord {
  attributes: Attribute[];
}

interface IndexEntry {
  name: string;
  record: number;
  child: number | undefined;
  isLast: boolean;
}

/** A file that can be read in pieces. */
export interface NtfsFile {
  readonly sizeBytes: number;
  /** Exactly `length` bytes; throws `UnreadableError` beyond the end. */
  bytes(offset: number, length: number): Promise<Buffer>;
}

/**
 * A read-only look into NTFS: folders by their index, names without regard to case, files in pieces. Compressed and encrypted files, and records that
 * go on in another one, are said to be unreadable. Every number from the disk is checked before it is used. Throws `UnreadableError`.
 */
export class NtfsFileSystem implements FileTree {
  readonly name = 'NTFS';
  private mft: Attribute | undefined;

  private constructor(
    private readonly view: DiskView,
    private readonly span: { offset: number; sizeBytes: number },
    private readonly clusterBytes: number,
    private readonly recordBytes: number,
    private readonly mftOffset: number,
  ) {}

  static async open(view: DiskView, span: { offset: number; sizeBytes: number }): Promise<NtfsFileSystem> {
    const boot = await view.bytes(span.offset, SECTOR_BYTES);
    const sectorBytes = boot.readUInt16LE(11);
    const perCluster = boot.readUInt8(13);
    // Clusters above 64 KiB are written as a negative power of two.
    const sectors = perCluster > 128 ? 2 ** (256 - perCluster) : perCluster;
    const clusterBytes = sectors * sectorBytes;
    const isPower = (value: number): boolean => value > 0 && (value & (value - 1)) === 0;
    if (!isPower(sectorBytes) || sectorBytes < 256 || sectorBytes > 4096 || !isPower(sectors) || clusterBytes > 2 ** 21)
      throw new UnreadableError('NTFS: the boot sector is damaged');
    const perRecord = boot.readInt8(64);
    const recordBytes = perRecord < 0 ? 2 ** -perRecord : perRecord * clusterBytes;
    if (!isPower(recordBytes) || recordBytes < 512 || recordBytes > 16_384)
      throw new UnreadableError(`NTFS: file records of ${recordBytes} bytes`);
    const mftOffset = Number(boot.readBigUInt64LE(48)) * clusterBytes;
    const files = new NtfsFileSystem(view, span, clusterBytes, recordBytes, mftOffset);
    const mft = (await files.recordAt(await files.inside(mftOffset, recordBytes))).attributes.find(
      ({ type, name }) => type === ATTRIBUTE_DATA && name === '',
    );
    if (mft === undefined) throw new UnreadableError('NTFS: the file table has no data');
    files.mft = mft;
    return files;
  }

  async readFile(path: string, limitBytes: number): Promise<Buffer | undefined> {
    const file = await this.openFile(path);
    return file?.bytes(0, Math.min(file.sizeBytes, limitBytes));
  }

  async has(path: string): Promise<boolean> {
    return (await this.find(path)) !== undefined;
  }

  async list(path: string): Promise<string[]> {
    const folder = await this.find(path);
    if (folder === undefined) return [];
    const names: string[] = [];
    await this.walk(folder, (entry) => {
      names.push(entry.name);
      return names.length < LIST_LIMIT;
    });
    return names;
  }

  /** A file to be read in pieces; `undefined` when there is none of that path. */
  async openFile(path: string): Promise<NtfsFile | undefined> {
    const data = (await this.find(path))?.attributes.find(({ type, name }) => type === ATTRIBUTE_DATA && name === '');
    if (data === undefined) return undefined;
    return { sizeBytes: data.sizeBytes, bytes: (offset, length) => this.content(data, offset, length) };
  }

  private async find(path: string): Promise<FileRecord | undefined> {
    let record = await this.record(ROOT_RECORD);
    for (const name of path.split('/')) {
      const number = await this.lookUp(record, name);
      if (number === undefined) return undefined;
      record = await this.record(number);
    }
    return record;
  }

  /** Goes down the index of a folder: each node is sorted by name, and an entry's node has what sorts before it. */
  private async lookUp(folder: FileRecord, name: string): Promise<number | undefined> {
    const wanted = name.toUpperCase();
    let node = this.indexRoot(folder);
    for (let depth = 0; node !== undefined && depth < INDEX_DEPTH_LIMIT; depth++) {
      let child: number | undefined;
      for (const entry of entriesOf(node)) {
        const found = entry.name.toUpperCase();
        if (!entry.isLast && found === wanted) return entry.record;
        if (entry.isLast || found > wanted) {
          child = entry.child;
          break;
        }
      }
      node = child === undefined ? undefined : await this.indexNode(folder, child);
    }
    if (node !== undefined) throw new UnreadableError('NTFS: an index is too deep');
    return undefined;
  }

  /** Every entry of a folder, in the order of the disk, as long as `take` says so. */
  private async walk(folder: FileRecord, take: (entry: IndexEntry) => boolean): Promise<void> {
    const root = this.indexRoot(folder);
    if (root === undefined) return;
    const todo = [root];
    const seen = new Set<number>();
    for (let node = todo.pop(); node !== undefined; node = todo.pop()) {
      for (const entry of entriesOf(node)) {
        if (entry.child !== undefined && !seen.has(entry.child)) {
          seen.add(entry.child);
          todo.push(await this.indexNode(folder, entry.child));
        }
        if (!entry.isLast && !take(entry)) return;
      }
    }
  }

  private indexRoot(folder: FileRecord): Buffer | undefined {
    const root = folder.attributes.find(({ type, name }) => type === ATTRIBUTE_INDEX_ROOT && name === '$I30')?.resident;
    // Behind the 16 bytes that describe the index comes its first node.
    return root !== undefined && root.length > 32 ? root.subarray(16) : undefined;
  }

  private async indexNode(folder: FileRecord, vcn: number): Promise<Buffer> {
    const find = (type: number) => folder.attributes.find((each) => each.type === type && each.name === '$I30');
    const allocation = find(ATTRIBUTE_INDEX_ALLOCATION);
    const blockBytes = find(ATTRIBUTE_INDEX_ROOT)?.resident?.readUInt32LE(8) ?? 0;
    if (allocation === undefined || blockBytes < 512 || blockBytes > 65_536)
      throw new UnreadableError(`NTFS: index blocks of ${blockBytes} bytes`);
    // Blocks smaller than a cluster are counted in sectors.
    const unit = blockBytes >= this.clusterBytes ? this.clusterBytes : SECTOR_BYTES;
    const block = fixedUp(await this.content(allocation, vcn * unit, blockBytes), 'INDX');
    return block.subarray(24);
  }

  private async record(number: number): Promise<FileRecord> {
    if (this.mft === undefined) throw new UnreadableError('NTFS: the file table has no data');
    return this.recordAt(await this.content(this.mft, number * this.recordBytes, this.recordBytes));
  }

  private async recordAt(raw: Buffer): Promise<FileRecord> {
    const record = fixedUp(raw, 'FILE');
    if ((record.readUInt16LE(22) & RECORD_IN_USE) === 0) throw new UnreadableError('NTFS: a file record is not in use');
    const attributes: Attribute[] = [];
    for (let at = record.readUInt16LE(20); at + 16 <= record.length;) {
      const type = record.readUInt32LE(at);
      if (type === ATTRIBUTES_END) break;
      const length = record.readUInt32LE(at + 4);
      if (length < 24 || at + length > record.length) throw new UnreadableError('NTFS: a file record is damaged');
      if (type === ATTRIBUTE_LIST) throw new UnreadableError('NTFS: a file record that goes on in others is not read');
      attributes.push(attributeOf(record.subarray(at, at + length)));
      at += length;
    }
    return { attributes };
  }

  private async content(attribute: Attribute, offset: number, length: number): Promise<Buffer> {
    if (!Number.isSafeInteger(offset) || offset < 0 || length < 0 || offset + length > attribute.sizeBytes)
      throw new UnreadableError(`NTFS: ${length} bytes at ${offset} of a file of ${attribute.sizeBytes}`);
    if ((attribute.flags & FLAG_COMPRESSED_OR_ENCRYPTED) !== 0)
      throw new UnreadableError('NTFS: compressed and encrypted files are not read');
    if (attribute.resident !== undefined) return attribute.resident.subarray(offset, offset + length);
    const result = Buffer.alloc(length);
    for (let done = 0; done < length;) {
      const position = offset + done;
      const vcn = Math.floor(position / this.clusterBytes);
      const run = attribute.runs.find((each) => vcn >= each.vcn && vcn < each.vcn + each.clusters);
      if (run === undefined) throw new UnreadableError('NTFS: a file has no place on the disk');
      const within = position - run.vcn * this.clusterBytes;
      const count = Math.min(length - done, run.clusters * this.clusterBytes - within, SMALL_READ);
      if (run.lcn !== undefined) (await this.inside(run.lcn * this.clusterBytes + within, count)).copy(result, done);
      done += count;
    }
    return result;
  }

  private inside(offset: number, length: number): Promise<Buffer> {
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + length > this.span.sizeBytes)
      throw new UnreadableError(`NTFS: ${length} bytes at ${offset} lie outside the volume`);
    return this.view.bytes(this.span.offset + offset, length);
  }
}

/** What the view gives in one piece. */
const SMALL_READ = 64 * 1024;

/** The last two bytes of every sector are kept in the head of a record, and a mark stands in their place. */
function fixedUp(raw: Buffer, magic: string): Buffer {
  if (raw.toString('latin1', 0, 4) !== magic) throw new UnreadableError(`NTFS: no ${magic} record where one should be`);
  const record = Buffer.from(raw);
  const at = record.readUInt16LE(4);
  const count = record.readUInt16LE(6);
  if (count < 1 || at + count * 2 > SECTOR_BYTES || (count - 1) * SECTOR_BYTES > record.length)
    throw new UnreadableError('NTFS: a record is damaged');
  const mark = record.readUInt16LE(at);
  for (let sector = 1; sector < count; sector++) {
    const end = sector * SECTOR_BYTES - 2;
    if (record.readUInt16LE(end) !== mark) throw new UnreadableError('NTFS: a record was not written to its end');
    record.writeUInt16LE(record.readUInt16LE(at + sector * 2), end);
  }
  return record;
}

function attributeOf(raw: Buffer): Attribute {
  const isResident = raw.readUInt8(8) === 0;
  const nameLength = raw.readUInt8(9) * 2;
  const nameAt = raw.readUInt16LE(10);
  if (nameAt + nameLength > raw.length || (!isResident && raw.length < 64))
    throw new UnreadableError('NTFS: an attribute is damaged');
  const common = {
    type: raw.readUInt32LE(0),
    name: raw.toString('utf16le', nameAt, nameAt + nameLength),
    flags: raw.readUInt16LE(12),
  };
  if (isResident) {
    const size = raw.readUInt32LE(16);
    const at = raw.readUInt16LE(20);
    if (at + size > raw.length) throw new UnreadableError('NTFS: an attribute is damaged');
    return { ...common, sizeBytes: size, resident: raw.subarray(at, at + size), runs: [] };
  }
  return {
    ...common,
    sizeBytes: Number(raw.readBigUInt64LE(48)),
    resident: undefined,
    runs: runsOf(raw.subarray(raw.readUInt16LE(32))),
  };
}

/** Pairs of length and distance from the piece before, each with as many bytes as its head says. */
function runsOf(raw: Buffer): Run[] {
  const runs: Run[] = [];
  let [vcn, lcn] = [0, 0];
  for (let at = 0; at < raw.length && runs.length < RUN_LIMIT;) {
    const head = raw.readUInt8(at++);
    if (head === 0) return runs;
    const [lengthBytes, offsetBytes] = [head & 0xf, head >> 4];
    if (lengthBytes < 1 || lengthBytes > 6 || offsetBytes > 6 || at + lengthBytes + offsetBytes > raw.length) break;
    const clusters = raw.readUIntLE(at, lengthBytes);
    if (offsetBytes > 0) lcn += raw.readIntLE(at + lengthBytes, offsetBytes);
    runs.push({ vcn, clusters, lcn: offsetBytes === 0 ? undefined : lcn });
    vcn += clusters;
    at += lengthBytes + offsetBytes;
  }
  throw new UnreadableError('NTFS: the places of a file are damaged');
}

/** Entries of an index node, whose head says where they begin and end. */
function* entriesOf(node: Buffer): Generator<IndexEntry> {
  if (node.length < 16) throw new UnreadableError('NTFS: an index is damaged');
  const end = Math.min(node.readUInt32LE(4), node.length);
  for (let at = node.readUInt32LE(0); at + 16 <= end;) {
    const length = node.readUInt16LE(at + 8);
    const keyBytes = node.readUInt16LE(at + 10);
    const flags = node.readUInt16LE(at + 12);
    if (length < 16 || at + length > end) throw new UnreadableError('NTFS: an index is damaged');
    const isLast = (flags & ENTRY_LAST) !== 0;
    const hasName = !isLast && keyBytes >= 66 && at + 16 + keyBytes <= end;
    const nameBytes = hasName ? node.readUInt8(at + 16 + 64) * 2 : 0;
    if (hasName && 66 + nameBytes > keyBytes) throw new UnreadableError('NTFS: an index is damaged');
    yield {
      record: Number(node.readBigUInt64LE(at) & RECORD_NUMBER_MASK),
      name: hasName ? node.toString('utf16le', at + 16 + 66, at + 16 + 66 + nameBytes) : '',
      child: (flags & ENTRY_HAS_NODE) !== 0 && length >= 24 ? Number(node.readBigUInt64LE(at + length - 8)) : undefined,
      isLast,
    };
    if (isLast) return;
    at += length;
  }
}
