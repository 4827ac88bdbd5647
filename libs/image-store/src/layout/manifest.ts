import { hash } from 'node:crypto';
import { StoredBytesDamagedError } from '../errors';
import { ContentTree } from './content-root';
import { HASH_BYTES, segmentCountOf } from './segment';

/**
 * A manifest, all numbers little endian: magic 8, virtual size u64, run count u32, data segment count u32, content root 32, then per run
 * (holes u32, data segments u32), then the roots of the data segments in order. It names content only, never a place.
 */
const MAGIC = Buffer.from('IMSMAN1\n', 'latin1');
const HEADER_BYTES = 8 + 8 + 4 + 4 + HASH_BYTES;
const RUN_BYTES = 8;

/** The content of a disk: which segments hold data and what their roots are. */
export class Manifest {
  private constructor(
    readonly virtualSizeBytes: number,
    readonly contentRoot: Buffer,
    /** Segment numbers that hold data, ascending. */
    readonly dataSegments: Uint32Array,
    private readonly roots: Buffer,
    /** What is stored, or sealed and then stored. */
    readonly bytes: Buffer,
    /** Its name: SHA-256 of what is stored, hex. */
    readonly hash: string,
  ) {}

  /**
   * Makes the manifest of a disk. `segments` rise by `index`; what they leave out reads as zeros.
   * Throws `RangeError` for an index that does not rise or lies outside the disk.
   */
  static of(virtualSizeBytes: number, segments: Iterable<{ index: number; root: Uint8Array }>): Manifest {
    const runs: { holes: number; data: number }[] = [];
    const roots: Uint8Array[] = [];
    let next = 0;
    for (const { index, root } of segments) {
      if (!Number.isInteger(index) || index < next || root.length !== HASH_BYTES) {
        throw new RangeError(`segment ${index} after segment ${next - 1}`);
      }
      const run = runs.at(-1);
      if (run !== undefined && index === next) run.data += 1;
      else runs.push({ holes: index - next, data: 1 });
      roots.push(root);
      next = index + 1;
    }
    if (next > segmentCountOf(virtualSizeBytes)) throw new RangeError(`segment ${next - 1} lies outside the disk`);
    const header = Buffer.alloc(HEADER_BYTES + runs.length * RUN_BYTES);
    MAGIC.copy(header, 0);
    header.writeBigUInt64LE(BigInt(virtualSizeBytes), 8);
    header.writeUInt32LE(runs.length, 16);
    header.writeUInt32LE(roots.length, 20);
    runs.forEach(({ holes, data }, run) => {
      header.writeUInt32LE(holes, HEADER_BYTES + run * RUN_BYTES);
      header.writeUInt32LE(data, HEADER_BYTES + run * RUN_BYTES + 4);
    });
    const joined = Buffer.concat(roots);
    contentRootOf(virtualSizeBytes, runs, joined).copy(header, 24);
    return Manifest.decode(Buffer.concat([header, joined]));
  }

  /** Reads stored bytes; `name` is that of the sealed object they came out of. Throws `StoredBytesDamagedError` unless they are a whole manifest whose content root is that of its segments. */
  static decode(bytes: Buffer, name: string = manifestName(bytes)): Manifest {
    if (bytes.length < HEADER_BYTES || !bytes.subarray(0, 8).equals(MAGIC)) {
      throw new StoredBytesDamagedError('manifest: not a manifest');
    }
    const virtualSizeBytes = Number(bytes.readBigUInt64LE(8));
    const runCount = bytes.readUInt32LE(16);
    const dataCount = bytes.readUInt32LE(20);
    if (HEADER_BYTES + runCount * RUN_BYTES + dataCount * HASH_BYTES !== bytes.length) {
      throw new StoredBytesDamagedError('manifest: length differs from its counts');
    }
    const dataSegments = new Uint32Array(dataCount);
    const runs: { holes: number; data: number }[] = [];
    let next = 0;
    let filled = 0;
    for (let at = HEADER_BYTES; at < HEADER_BYTES + runCount * RUN_BYTES; at += RUN_BYTES) {
      const run = { holes: bytes.readUInt32LE(at), data: bytes.readUInt32LE(at + 4) };
      runs.push(run);
      next += run.holes;
      if (filled + run.data > dataCount || next + run.data > segmentCountOf(virtualSizeBytes)) {
        throw new StoredBytesDamagedError('manifest: its runs lie outside the disk');
      }
      for (let left = run.data; left > 0; left -= 1) dataSegments[filled++] = next++;
    }
    if (filled !== dataCount) throw new StoredBytesDamagedError('manifest: its runs do not cover its segments');
    const roots = bytes.subarray(HEADER_BYTES + runCount * RUN_BYTES);
    const contentRoot = Buffer.from(bytes.subarray(24, 24 + HASH_BYTES));
    if (!contentRootOf(virtualSizeBytes, runs, roots).equals(contentRoot)) {
      throw new StoredBytesDamagedError('manifest: its content root is not that of its segments');
    }
    return new Manifest(virtualSizeBytes, contentRoot, dataSegments, roots, bytes, name);
  }

  /** Root of the n-th data segment. */
  rootAt(position: number): Buffer {
    return this.roots.subarray(position * HASH_BYTES, (position + 1) * HASH_BYTES);
  }

  /** Position among the data segments of the first one that is `index` or comes after it. */
  positionFrom(index: number): number {
    let low = 0;
    let high = this.dataSegments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.dataSegments[middle] ?? 0) < index) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Name of a manifest object: SHA-256 of its stored bytes, hex. */
export const manifestName = (stored: Uint8Array): string => hash('sha256', stored, 'hex');

function contentRootOf(
  virtualSizeBytes: number,
  runs: readonly { holes: number; data: number }[],
  roots: Buffer,
): Buffer {
  const tree = new ContentTree();
  let position = 0;
  let segments = 0;
  for (const { holes, data } of runs) {
    tree.appendZeros(holes);
    for (let left = data; left > 0; left -= 1, position += 1) {
      tree.append(roots.subarray(position * HASH_BYTES, (position + 1) * HASH_BYTES));
    }
    segments += holes + data;
  }
  tree.appendZeros(segmentCountOf(virtualSizeBytes) - segments);
  return tree.finish(virtualSizeBytes);
}
