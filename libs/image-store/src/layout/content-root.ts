import { hash } from 'node:crypto';
import { segmentCountOf, ZERO_SEGMENT_ROOT } from './segment';

// RFC 6962 2.1: leaves and nodes are told apart by their first byte; the third prefix binds the tree to the disk's size.
const LEAF = Buffer.from([0x00]);
const NODE = Buffer.from([0x01]);
const DISK = Buffer.from([0x02]);

const sha256 = (...parts: Uint8Array[]): Buffer => hash('sha256', Buffer.concat(parts), 'buffer');
const leafHash = (segmentRoot: Uint8Array): Buffer => sha256(LEAF, segmentRoot);
const nodeHash = (left: Uint8Array, right: Uint8Array): Buffer => sha256(NODE, left, right);

const zeroSubtrees: Buffer[] = [leafHash(ZERO_SEGMENT_ROOT)];
function zeroSubtree(level: number): Buffer {
  for (let next = zeroSubtrees.length; next <= level; next += 1) {
    const below = zeroSubtree(next - 1);
    zeroSubtrees.push(nodeHash(below, below));
  }
  const found = zeroSubtrees[level];
  if (found === undefined) throw new RangeError(`no zero subtree of level ${level}`);
  return found;
}

/**
 * Computes the content root of a disk from its segments in order: an RFC 6962 tree over all segment roots, holes included, bound
 * to the virtual size. A run of holes costs two hashes per level, so an empty 1 TiB disk costs nothing.
 *
 * @example
 * const tree = new ContentTree();
 * tree.append(root0);
 * tree.appendZeros(511);
 * const contentRoot = tree.finish(1024 ** 3);
 */
export class ContentTree {
  // Complete subtrees from left to right, levels strictly falling: the binary digits of `count`.
  private readonly stack: { level: number; hash: Buffer }[] = [];
  private count = 0;

  /** Adds one segment that holds data (or zeros: the root decides). */
  append(segmentRoot: Uint8Array): void {
    this.push(0, leafHash(segmentRoot));
  }

  /** Adds `segments` segments that read as zeros. */
  appendZeros(segments: number): void {
    for (let left = segments; left > 0;) {
      let level = 0;
      // The largest subtree that starts at this position and fits; above level 40 no disk reaches.
      while (level < 40 && this.count % 2 ** (level + 1) === 0 && 2 ** (level + 1) <= left) level += 1;
      this.push(level, zeroSubtree(level));
      left -= 2 ** level;
    }
  }

  /** The content root, 32 bytes. Throws `RangeError` unless exactly the segments of a disk of this size were added. */
  finish(virtualSizeBytes: number): Buffer {
    if (this.count !== segmentCountOf(virtualSizeBytes)) {
      throw new RangeError(
        `a disk of ${virtualSizeBytes} bytes has ${segmentCountOf(virtualSizeBytes)} segments, got ${this.count}`,
      );
    }
    let root: Buffer | undefined;
    for (const { hash: left } of this.stack.toReversed()) root = root === undefined ? left : nodeHash(left, root);
    const size = Buffer.alloc(8);
    size.writeBigUInt64BE(BigInt(virtualSizeBytes));
    // RFC 6962: the root of no leaves is the hash of nothing.
    return sha256(DISK, size, root ?? sha256());
  }

  private push(level: number, subtree: Buffer): void {
    this.count += 2 ** level;
    let node = { level, hash: subtree };
    for (let left = this.stack.at(-1); left !== undefined && left.level === node.level; left = this.stack.at(-1)) {
      this.stack.pop();
      node = { level: node.level + 1, hash: nodeHash(left.hash, node.hash) };
    }
    this.stack.push(node);
  }
}
