import { type DiskView, UnreadableError } from './disk-view';
import type { FileTree } from './file-tree';

const MODE_KIND = 0xf000;
const MODE_FOLDER = 0x4000;
const MODE_FILE = 0x8000;
const MODE_LINK = 0xa000;
/** Where an inode keeps what it points to: in itself, as a list of extents, or as the root of a tree of them. */
const FORK_LOCAL = 1;
const FORK_EXTENTS = 2;
const FORK_BTREE = 3;
/** Numbers of extents have 64 bits and stand elsewhere. */
const INODE_LARGE_COUNTS = 0x10n;
const FEATURE2_FTYPE = 0x200;
const INCOMPAT_FTYPE = 0x1;
const LINK_LIMIT = 40;
const LINK_BYTES = 1024;
/** Folders hold their entries below this place; their indexes lie above. */
const FOLDER_DATA_END = 2 ** 35;
const FOLDER_BYTES = 1024 * 1024;
const LIST_LIMIT = 4096;
const EXTENT_LIMIT = 4096;
const TREE_DEPTH_LIMIT = 5;
const UNUSED_ENTRY = 0xffff;

interface Inode {
  mode: number;
  sizeBytes: number;
  format: number;
  extentCount: number;
  fork: Buffer;
}

interface Extent {
  fileBlock: number;
  diskBlock: number;
  blocks: number;
  isUnwritten: boolean;
}

interface FolderEntry {
  name: string;
  inode: bigint;
}

/**
 * A read-only look into XFS, versions 4 and 5: extents and trees of them, folders in an inode and in blocks, symbolic links followed. Every number
 * from the disk is checked before it is used, and all reading is bounded by the view. The log is not replayed. Throws `UnreadableError`.
 */
export class XfsFileSystem implements FileTree {
  readonly name = 'xfs';

  private constructor(
    private readonly view: DiskView,
    private readonly span: { offset: number; sizeBytes: number },
    private readonly geometry: {
      blockBytes: number;
      groupBlocks: number;
      groupBlockBits: number;
      inodeBytes: number;
      inodesPerBlockBits: number;
      folderBlockBytes: number;
      rootInode: bigint;
      isVersion5: boolean;
      hasFileTypes: boolean;
    },
  ) {}

  static async open(view: DiskView, span: { offset: number; sizeBytes: number }): Promise<XfsFileSystem> {
    const block = await view.bytes(span.offset, 512);
    const version = block.readUInt16BE(100) & 0xf;
    const [blockBits, inodeBits, inodesPerBlockBits, groupBlockBits] = [120, 122, 123, 124].map((at) =>
      block.readUInt8(at),
    );
    const folderBits = block.readUInt8(192);
    if (version !== 4 && version !== 5) throw new UnreadableError(`XFS: version ${version}`);
    if (
      blockBits === undefined ||
      inodeBits === undefined ||
      inodesPerBlockBits === undefined ||
      groupBlockBits === undefined ||
      blockBits < 9 ||
      blockBits > 16 ||
      inodeBits < 8 ||
      inodeBits > 11 ||
      inodesPerBlockBits !== blockBits - inodeBits ||
      groupBlockBits > 31 ||
      folderBits + blockBits > 16
    )
      throw new UnreadableError('XFS: the superblock is damaged');
    return new XfsFileSystem(view, span, {
      blockBytes: 2 ** blockBits,
      groupBlocks: block.readUInt32BE(84),
      groupBlockBits,
      inodeBytes: 2 ** inodeBits,
      inodesPerBlockBits,
      folderBlockBytes: 2 ** (blockBits + folderBits),
      rootInode: block.readBigUInt64BE(56),
      isVersion5: version === 5,
      hasFileTypes:
        version === 5
          ? (block.readUInt32BE(216) & INCOMPAT_FTYPE) !== 0
          : (block.readUInt32BE(200) & FEATURE2_FTYPE) !== 0,
    });
  }

  async readFile(path: string, limitBytes: number): Promise<Buffer | undefined> {
    const inode = await this.find(path);
    if (inode === undefined || (inode.mode & MODE_KIND) !== MODE_FILE) return undefined;
    return this.content(inode, Math.min(inode.sizeBytes, limitBytes));
  }

  async has(path: string): Promise<boolean> {
    return (await this.find(path)) !== undefined;
  }

  async list(path: string): Promise<string[]> {
    const folder = await this.find(path);
    if (folder === undefined || (folder.mode & MODE_KIND) !== MODE_FOLDER) return [];
    const names: string[] = [];
    for await (const { name } of this.entries(folder)) {
      if (name !== '.' && name !== '..') names.push(name);
      if (names.length >= LIST_LIMIT) break;
    }
    return names;
  }

  private async find(path: string): Promise<Inode | undefined> {
    const { rootInode } = this.geometry;
    // From the root to the current folder, so that `..` needs no look at the disk.
    const folders = [rootInode];
    const names = path.split('/');
    let links = 0;
    let result = await this.inode(rootInode);
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      if (name === '' || name === '.') continue;
      if ((result.mode & MODE_KIND) !== MODE_FOLDER) return undefined;
      if (name === '..') {
        if (folders.length > 1) folders.pop();
        result = await this.inode(folders.at(-1) ?? rootInode);
        continue;
      }
      const number = await this.entry(result, name);
      if (number === undefined) return undefined;
      const inode = await this.inode(number);
      if ((inode.mode & MODE_KIND) === MODE_LINK) {
        if (++links > LINK_LIMIT) throw new UnreadableError(`XFS: too many symbolic links on the way to ${path}`);
        const target = await this.linkTarget(inode);
        if (target.startsWith('/')) folders.splice(1);
        names.unshift(...target.split('/'));
        result = await this.inode(folders.at(-1) ?? rootInode);
      } else {
        result = inode;
        if ((inode.mode & MODE_KIND) === MODE_FOLDER) folders.push(number);
      }
    }
    return result;
  }

  /** A number of an inode is its group, its block in the group and its place in the block, one behind the other. */
  private async inode(number: bigint): Promise<Inode> {
    const { inodeBytes, inodesPerBlockBits, isVersion5 } = this.geometry;
    const block = this.position(Number(number >> BigInt(inodesPerBlockBits)));
    const within = Number(number & BigInt(2 ** inodesPerBlockBits - 1)) * inodeBytes;
    const raw = await this.inside(block + within, inodeBytes);
    if (raw.toString('latin1', 0, 2) !== 'IN') throw new UnreadableError('XFS: no inode where one should be');
    const forkAt = raw.readUInt8(4) >= 3 && isVersion5 ? 176 : 100;
    const attributesAt = raw.readUInt8(82) * 8;
    const forkEnd = attributesAt === 0 ? inodeBytes : forkAt + attributesAt;
    if (forkEnd > inodeBytes) throw new UnreadableError('XFS: an inode is damaged');
    const hasLargeCounts = forkAt === 176 && (raw.readBigUInt64BE(120) & INODE_LARGE_COUNTS) !== 0n;
    return {
      mode: raw.readUInt16BE(2),
      sizeBytes: Number(raw.readBigUInt64BE(56)),
      format: raw.readUInt8(5),
      extentCount: hasLargeCounts ? Number(raw.readBigUInt64BE(24)) : raw.readUInt32BE(76),
      fork: raw.subarray(forkAt, forkEnd),
    };
  }

  private async linkTarget(inode: Inode): Promise<string> {
    if (inode.sizeBytes > LINK_BYTES) throw new UnreadableError(`XFS: a symbolic link of ${inode.sizeBytes} bytes`);
    if (inode.format === FORK_LOCAL) return inode.fork.toString('utf8', 0, inode.sizeBytes);
    // Blocks of links have a head of 56 bytes since version 5.
    const head = this.geometry.isVersion5 ? 56 : 0;
    return (await this.content({ ...inode, sizeBytes: head + inode.sizeBytes }, head + inode.sizeBytes)).toString(
      'utf8',
      head,
    );
  }

  private async entry(folder: Inode, name: string): Promise<bigint | undefined> {
    for await (const entry of this.entries(folder)) if (entry.name === name) return entry.inode;
    return undefined;
  }

  private async *entries(folder: Inode): AsyncGenerator<FolderEntry> {
    if (folder.format === FORK_LOCAL) {
      yield* this.shortEntries(folder.fork.subarray(0, folder.sizeBytes));
      return;
    }
    const { blockBytes, folderBlockBytes } = this.geometry;
    let done = 0;
    const extents = await this.extents(folder);
    for (const extent of extents) {
      for (let at = 0; at < extent.blocks * blockBytes; at += folderBlockBytes) {
        const start = extent.fileBlock * blockBytes + at;
        if (start >= FOLDER_DATA_END) return;
        if ((done += folderBlockBytes) > FOLDER_BYTES) throw new UnreadableError('XFS: a folder is too large');
        yield* this.blockEntries(await this.content(folder, folderBlockBytes, start, extents));
      }
    }
  }

  /** A folder inside of its inode: count, whether numbers have eight bytes, its parent, then the entries. */
  private *shortEntries(raw: Buffer): Generator<FolderEntry> {
    const { hasFileTypes } = this.geometry;
    if (raw.length < 6) throw new UnreadableError('XFS: a folder is damaged');
    const count = raw.readUInt8(0);
    const width = raw.readUInt8(1) > 0 ? 8 : 4;
    let at = 2 + width;
    for (let k = 0; k < count; k++) {
      const nameBytes = at < raw.length ? raw.readUInt8(at) : 0;
      const numberAt = at + 3 + nameBytes + (hasFileTypes ? 1 : 0);
      if (nameBytes === 0 || numberAt + width > raw.length) throw new UnreadableError('XFS: a folder is damaged');
      yield {
        name: raw.toString('utf8', at + 3, at + 3 + nameBytes),
        inode: width === 8 ? raw.readBigUInt64BE(numberAt) : BigInt(raw.readUInt32BE(numberAt)),
      };
      at = numberAt + width;
    }
  }

  private *blockEntries(raw: Buffer): Generator<FolderEntry> {
    const magic = raw.toString('latin1', 0, 4);
    const isWhole = magic === 'XD2B' || magic === 'XDB3';
    if (!isWhole && magic !== 'XD2D' && magic !== 'XDD3') throw new UnreadableError('XFS: a folder is damaged');
    // A folder of one block has its index at the end of it: eight bytes for each entry, then how many.
    const indexed = isWhole ? raw.readUInt32BE(raw.length - 8) : 0;
    const end = isWhole ? raw.length - 8 - indexed * 8 : raw.length;
    const head = magic === 'XDB3' || magic === 'XDD3' ? 64 : 16;
    for (let at = head; at + 16 <= end;) {
      if (raw.readUInt16BE(at) === UNUSED_ENTRY) {
        const free = raw.readUInt16BE(at + 2);
        if (free < 8) throw new UnreadableError('XFS: a folder is damaged');
        at += free;
        continue;
      }
      const nameBytes = raw.readUInt8(at + 8);
      // Number, length, name, kind, and two bytes that say where the entry begins; filled up to eight.
      const length = Math.ceil((8 + 1 + nameBytes + (this.geometry.hasFileTypes ? 1 : 0) + 2) / 8) * 8;
      if (nameBytes === 0 || at + length > end) throw new UnreadableError('XFS: a folder is damaged');
      yield { name: raw.toString('utf8', at + 9, at + 9 + nameBytes), inode: raw.readBigUInt64BE(at) };
      at += length;
    }
  }

  /** `length` bytes of a file's content from `start`; holes are zeros. */
  private async content(inode: Inode, length: number, start = 0, known?: readonly Extent[]): Promise<Buffer> {
    if (inode.format === FORK_LOCAL) return inode.fork.subarray(start, start + length);
    const extents = known ?? (await this.extents(inode));
    const { blockBytes } = this.geometry;
    const result = Buffer.alloc(length);
    for (let done = 0; done < length;) {
      const block = Math.floor((start + done) / blockBytes);
      const within = (start + done) % blockBytes;
      const count = Math.min(length - done, blockBytes - within);
      const extent = extents.find((each) => block >= each.fileBlock && block < each.fileBlock + each.blocks);
      if (extent?.isUnwritten === false) {
        const position = this.position(extent.diskBlock, block - extent.fileBlock);
        (await this.inside(position + within, count)).copy(result, done);
      }
      done += count;
    }
    return result;
  }

  private async extents(inode: Inode): Promise<Extent[]> {
    if (inode.format === FORK_EXTENTS) return extentsIn(inode.fork, 0, inode.extentCount);
    if (inode.format !== FORK_BTREE) throw new UnreadableError(`XFS: an inode of format ${inode.format}`);
    const { blockBytes, isVersion5 } = this.geometry;
    const [level, count] = [inode.fork.readUInt16BE(0), inode.fork.readUInt16BE(2)];
    if (level > TREE_DEPTH_LIMIT) throw new UnreadableError('XFS: a tree of extents is damaged');
    // Half of the room is for keys, the other half for places.
    let blocks = placesIn(inode.fork, 4, Math.floor((inode.fork.length - 4) / 16), count);
    const head = isVersion5 ? 72 : 24;
    const capacity = Math.floor((blockBytes - head) / 16);
    for (let depth = level - 1; depth > 0; depth--) {
      const next: number[] = [];
      for (const block of blocks) {
        const node = await this.treeNode(block, depth);
        next.push(...placesIn(node, head, capacity, node.readUInt16BE(6)));
        if (next.length > EXTENT_LIMIT) throw new UnreadableError('XFS: a file is in too many pieces');
      }
      blocks = next;
    }
    const extents: Extent[] = [];
    for (const block of blocks) {
      const leaf = await this.treeNode(block, 0);
      extents.push(...extentsIn(leaf, head, leaf.readUInt16BE(6)));
      if (extents.length > EXTENT_LIMIT) throw new UnreadableError('XFS: a file is in too many pieces');
    }
    return extents;
  }

  private async treeNode(block: number, depth: number): Promise<Buffer> {
    const node = await this.inside(this.position(block), this.geometry.blockBytes);
    const magic = node.toString('latin1', 0, 4);
    if ((magic !== 'BMAP' && magic !== 'BMA3') || node.readUInt16BE(4) !== depth)
      throw new UnreadableError('XFS: a tree of extents is damaged');
    return node;
  }

  /** Place on the file system: a number of a block is its group and its place in the group. Groups are not a power of two long. */
  private position(block: number, further = 0): number {
    const { groupBlocks, groupBlockBits, blockBytes } = this.geometry;
    const size = 2 ** groupBlockBits;
    return (Math.floor(block / size) * groupBlocks + (block % size) + further) * blockBytes;
  }

  private inside(offset: number, length: number): Promise<Buffer> {
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + length > this.span.sizeBytes)
      throw new UnreadableError(`XFS: ${length} bytes at ${offset} lie outside the file system`);
    return this.view.bytes(this.span.offset + offset, length);
  }
}

/** Sixteen bytes each: one bit "never written", 54 for the place in the file, 52 for that on the disk, 21 for the length. */
function extentsIn(raw: Buffer, at: number, count: number): Extent[] {
  if (count > EXTENT_LIMIT || at + count * 16 > raw.length) throw new UnreadableError('XFS: extents are damaged');
  return Array.from({ length: count }, (_, k) => {
    const [high, low] = [raw.readBigUInt64BE(at + k * 16), raw.readBigUInt64BE(at + k * 16 + 8)];
    return {
      isUnwritten: high >> 63n === 1n,
      fileBlock: Number((high >> 9n) & 0x3fffffffffffffn),
      diskBlock: Number(((high & 0x1ffn) << 43n) | (low >> 21n)),
      blocks: Number(low & 0x1fffffn),
    };
  });
}

function placesIn(raw: Buffer, at: number, capacity: number, count: number): number[] {
  const start = at + capacity * 8;
  if (count > capacity || start + count * 8 > raw.length)
    throw new UnreadableError('XFS: a tree of extents is damaged');
  return Array.from({ length: count }, (_, k) => Number(raw.readBigUInt64BE(start + k * 8)));
}
