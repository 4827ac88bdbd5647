import type { DiskReader } from '../disk-reader';
import { BLOCK_BYTES } from './stream-page';

const ZEROS = Buffer.alloc(BLOCK_BYTES);

/**
 * The 2 MiB blocks of a disk that are not all zeros, in order; the last one padded with zeros. `bytes` is used again for the next block.
 * Holes are never read.
 */
export async function* storedBlocks(
  disk: DiskReader,
  signal?: AbortSignal,
): AsyncGenerator<{ number: number; bytes: Buffer }, void, undefined> {
  const bytes = Buffer.alloc(BLOCK_BYTES);
  let next = 0;
  for await (const extent of disk.extents(signal)) {
    const end = Math.ceil((extent.offset + extent.length) / BLOCK_BYTES);
    for (let number = Math.max(next, Math.floor(extent.offset / BLOCK_BYTES)); number < end; number++) {
      await disk.read(number * BLOCK_BYTES, bytes, signal);
      next = number + 1;
      if (!bytes.equals(ZEROS)) yield { number, bytes };
    }
  }
}
