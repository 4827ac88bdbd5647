import { type DiskView, UnreadableError } from './disk-view';
import type { FileTree } from './file-tree';

const SUPERBLOCK_OFFSET = 1024;
const ROOT_INODE = 2;
const INCOMPAT_META_BG = 0x10;
const INCOMPAT_JOURNAL_DEVICE = 0x08;
const INCOMPAT_64BIT = 0x80;
const INODE_EXTENTS = 0x80000;
const INODE_INLINE_DATA = 0x10000000;
const INODE_ENCRYPTED = 0x800;
const MODE_KIND = 0xf000;
const MODE_FOLDER = 0x4000;
const MODE_FILE = 0x8000;
const MODE_LINK = 0xa000;
const EXTENT_MAGIC = 0xf30a;
/** The kernel's own limits. */
const EXTENT_DEPTH_LIMIT = 5;
const LINK_LIMIT = 40;
/** Longest target of a symbolic link, and more than os-release or a directory of /etc ever needs. */
const LINK_BYTES = 4096;
const FOLDER_BYTES = 1024 * 1024;
const LIST_LIMIT = 4096;

interface Inode {
  mode: number;
  sizeBytes: number;
  flags: number;
  /** The 60 bytes that hold the block map, the root of the extent tree, or the target of a short link. */
  map: Buffer;
}

/**
 * A read-only look into ext2, ext3 and ext4: extents and old block maps, folders block by block (which passes over the inner nodes of
 * hashed folders, since those look like unused entries), symbolic links followed. Every number from the disk is checked before it is
 * used, and all reading is bounded by the view. The journal is not replayed. Throws `UnreadableError`.
 */
export class ExtFileSystem implements FileTree {
  private constructor(
    private readonly view: DiskView,
    private readonly offset: number,
    private readonly blockBytes: number,
    private readonly blockCount: number,
    private readonly inodeCount: number,
    private readonly inodesPerGroup: number,
    private readonly inodeBytes: number,
    private readonly descriptorBytes: number,
    private readonly firstDataBlock: number,
    /** `ext2`, `ext3` or `ext4`, by its features. */
    readonly name: string,
    /** The journal holds changes that this reader does not see. */
    readonly needsRecovery: boolean,
  ) {}

  static async open(view: DiskView, span: { offset: number; sizeBytes: number }): Promise<ExtFileSystem> {
    const block = await view.bytes(span.offset + SUPERBLOCK_OFFSET, 1024);
    const incompat = block.readUInt32LE(96);
    const logBlock = block.readUInt32LE(24);
    if (logBlock > 6) throw new UnreadableError(`ext: block size 2^${logBlock + 10}`);
    const blockBytes = 1024 << logBlock;
    const has64 = (incompat & INCOMPAT_64BIT) !== 0;
    const inodeBytes = block.readUInt32LE(76) === 0 ? 128 : block.readUInt16LE(88);
    const descriptorBytes = has64 ? block.readUInt16LE(254) : 32;
    const blockCount = block.readUInt32LE(4) + (has64 ? block.readUInt32LE(336) * 2 ** 32 : 0);
    const inodesPerGroup = block.readUInt32LE(40);
    if ((incompat & INCOMPAT_META_BG) !== 0) throw new UnreadableError('ext: meta block groups are not read');
    if ((incompat & INCOMPAT_JOURNAL_DEVICE) !== 0) throw new UnreadableError('ext: this is a journal');
    if (inodeBytes < 128 || inodeBytes > blockBytes || inodesPerGroup === 0) {
      throw new UnreadableError(`ext: inodes of ${inodeBytes} bytes, ${inodesPerGroup} in a group`);
    }
    if (descriptorBytes < 32 || descriptorBytes > 1024)
      throw new UnreadableError(`ext: group descriptors of ${descriptorBytes} bytes`);
    const hasJournal = (block.readUInt32LE(92) & 0x4) !== 0;
    const isExt4 = (incompat & 0x2c0) !== 0;
    return new ExtFileSystem(
      view,
      span.offset,
      blockBytes,
      blockCount,
      block.readUInt32LE(0),
      inodesPerGroup,
      inodeBytes,
      descriptorBytes,
      block.readUInt32LE(20),
      isExt4 ? 'ext4' : hasJournal ? 'ext3' : 'ext2',
      (incompat & 0x4) !== 0,
    );
  }

  /** The first `limitBytes` of a file, links followed; `undefined` when there is no such file. */
  async readFile(path: string, limitBytes: number): Promise<Buffer | undefined> {
    const inode = await this.find(path);
    if (inode === undefined || (inode.mode & MODE_KIND) !== MODE_FILE) return undefined;
    return this.content(inode, Math.min(inode.sizeBytes, limitBytes));
  }

  /** Whether a file or folder is there, links followed. */
  async has(path: string): Promise<boolean> {
    return (await this.find(path)) !== undefined;
  }

  async list(path: string): Promise<string[]> {
    const folder = await this.find(path);
    if (folder === undefined || (folder.mode & MODE_KIND) !== MODE_FOLDER) return [];
    const names: string[] = [];
    for await (const { name } of this.entries(folder)) {
      const text = name.toString('utf8');
      if (text !== '.' && text !== '..') names.push(text);
      if (names.length >= LIST_LIMIT) break;
    }
    return names;
  }

  private async find(path: string): Promise<Inode | undefined> {
    // From the root to the current folder, so that `..` needs no look at the disk.
    const folders: number[] = [ROOT_INODE];
    const names = path.split('/');
    let links = 0;
    let result: Inode = await this.inode(ROOT_INODE);
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      if (name === '' || name === '.') continue;
      if ((result.mode & MODE_KIND) !== MODE_FOLDER) return undefined;
      if (name === '..') {
        if (folders.length > 1) folders.pop();
        result = await this.inode(folders.at(-1) ?? ROOT_INODE);
        continue;
      }
      const number = await this.entry(result, name);
      if (number === undefined) return undefined;
      const inode = await this.inode(number);
      if ((inode.mode & MODE_KIND) === MODE_LINK) {
        if (++links > LINK_LIMIT) throw new UnreadableError(`ext: too many symbolic links on the way to ${path}`);
        const target = await this.linkTarget(inode);
        if (target.startsWith('/')) folders.splice(1);
        names.unshift(...target.split('/'));
        result = await this.inode(folders.at(-1) ?? ROOT_INODE);
      } else {
        result = inode;
        if ((inode.mode & MODE_KIND) === MODE_FOLDER) folders.push(number);
      }
    }
    return result;
  }

  private async inode(number: number): Promise<Inode> {
    if (number < 1 || number > this.inodeCount) throw new UnreadableError(`ext: inode ${number} of ${this.inodeCount}`);
    const group = Math.floor((number - 1) / this.inodesPerGroup);
    const descriptors = this.offset + (this.firstDataBlock + 1) * this.blockBytes;
    const descriptor = await this.view.bytes(descriptors + group * this.descriptorBytes, this.descriptorBytes);
    const table = descriptor.readUInt32LE(8) + (this.descriptorBytes >= 64 ? descriptor.readUInt32LE(40) * 2 ** 32 : 0);
    const within = ((number - 1) % this.inodesPerGroup) * this.inodeBytes;
    const raw = await this.view.bytes(this.blockPosition(table) + within, 128);
    return {
      mode: raw.readUInt16LE(0),
      sizeBytes: raw.readUInt32LE(4) + raw.readUInt32LE(108) * 2 ** 32,
      flags: raw.readUInt32LE(32),
      map: raw.subarray(40, 100),
    };
  }

  private async linkTarget(inode: Inode): Promise<string> {
    const isShort = inode.sizeBytes < inode.map.length && (inode.flags & INODE_EXTENTS) === 0;
    if (isShort) return inode.map.toString('utf8', 0, inode.sizeBytes);
    if (inode.sizeBytes > LINK_BYTES) throw new UnreadableError(`ext: a symbolic link of ${inode.sizeBytes} bytes`);
    return (await this.content(inode, inode.sizeBytes)).toString('utf8');
  }

  private async entry(folder: Inode, name: string): Promise<number | undefined> {
    const wanted = Buffer.from(name);
    for await (const entry of this.entries(folder)) if (entry.name.equals(wanted)) return entry.number;
    return undefined;
  }

  private async *entries(folder: Inode): AsyncGenerator<{ name: Buffer; number: number }> {
    const limit = Math.min(folder.sizeBytes, FOLDER_BYTES);
    for (let start = 0; start < limit; start += this.blockBytes) {
      const block = await this.content(folder, this.blockBytes, start);
      for (let at = 0; at + 8 <= block.length;) {
        const number = block.readUInt32LE(at);
        const length = block.readUInt16LE(at + 4);
        const nameBytes = block.readUInt8(at + 6);
        // 65535 stands for 65536 in blocks of that size.
        const step = length === 0xffff ? 0x10000 : length;
        if (step < 8 || at + step > block.length) throw new UnreadableError('ext: a folder is damaged');
        if (number !== 0) yield { number, name: block.subarray(at + 8, at + 8 + nameBytes) };
        at += step;
      }
    }
    if (folder.sizeBytes > FOLDER_BYTES) throw new UnreadableError(`ext: a folder of ${folder.sizeBytes} bytes`);
  }

  /** `length` bytes of a file's content from `start`; holes are zeros. */
  private async content(inode: Inode, length: number, start = 0): Promise<Buffer> {
    if ((inode.flags & INODE_ENCRYPTED) !== 0) throw new UnreadableError('ext: encrypted files are not read');
    if ((inode.flags & INODE_INLINE_DATA) !== 0) throw new UnreadableError('ext: data inside inodes is not read');
    const result = Buffer.alloc(length);
    for (let done = 0; done < length;) {
      const logical = Math.floor((start + done) / this.blockBytes);
      const within = (start + done) % this.blockBytes;
      const count = Math.min(length - done, this.blockBytes - within);
      const physical =
        (inode.flags & INODE_EXTENTS) !== 0
          ? await this.blockByExtents(inode.map, logical)
          : await this.blockByMap(inode.map, logical);
      if (physical !== 0) (await this.view.bytes(this.blockPosition(physical) + within, count)).copy(result, done);
      done += count;
    }
    return result;
  }

  /** 0 for a hole. */
  private async blockByExtents(root: Buffer, logical: number): Promise<number> {
    let node = root;
    for (let expectedDepth: number | undefined; ;) {
      const count = node.readUInt16LE(2);
      const depth = node.readUInt16LE(6);
      if (node.readUInt16LE(0) !== EXTENT_MAGIC || 12 + count * 12 > node.length || depth > EXTENT_DEPTH_LIMIT) {
        throw new UnreadableError('ext: an extent tree is damaged');
      }
      if (expectedDepth !== undefined && depth !== expectedDepth)
        throw new UnreadableError('ext: an extent tree is damaged');
      const found = lastEntryUpTo(node, count, logical);
      if (found === undefined) return 0;
      if (depth > 0) {
        const child = found.readUInt32LE(4) + found.readUInt16LE(8) * 2 ** 32;
        node = await this.view.bytes(this.blockPosition(child), this.blockBytes);
        expectedDepth = depth - 1;
        continue;
      }
      const first = found.readUInt32LE(0);
      const length = found.readUInt16LE(4);
      // Longer than 32768 means: allocated but never written.
      if (length > 32_768 || logical >= first + length) return 0;
      return found.readUInt32LE(8) + found.readUInt16LE(6) * 2 ** 32 + (logical - first);
    }
  }

  /** 0 for a hole. Twelve direct blocks, then one, two and three levels of blocks that hold block numbers. */
  private async blockByMap(map: Buffer, logical: number): Promise<number> {
    if (logical < 12) return map.readUInt32LE(logical * 4);
    const perBlock = this.blockBytes / 4;
    let rest = logical - 12;
    for (let level = 1; level <= 3; level++) {
      const span = perBlock ** level;
      if (rest >= span) {
        rest -= span;
        continue;
      }
      let block = map.readUInt32LE((11 + level) * 4);
      for (let down = level - 1; down >= 0 && block !== 0; down--) {
        const slot = Math.floor(rest / perBlock ** down) % perBlock;
        block = (await this.view.bytes(this.blockPosition(block) + slot * 4, 4)).readUInt32LE(0);
      }
      return block;
    }
    throw new UnreadableError('ext: a file is larger than its block map');
  }

  private blockPosition(block: number): number {
    if (block >= this.blockCount) throw new UnreadableError(`ext: block ${block} of ${this.blockCount}`);
    return this.offset + block * this.blockBytes;
  }
}

/** The last of `count` 12-byte entries behind the node's head whose first block is not above `logical`. */
function lastEntryUpTo(node: Buffer, count: number, logical: number): Buffer | undefined {
  let found: Buffer | undefined;
  for (let k = 0; k < count; k++) {
    const entry = node.subarray(12 + k * 12, 24 + k * 12);
    if (entry.readUInt32LE(0) > logical) break;
    found = entry;
  }
  return found;
}
