import type { Extent } from '../disk-reader';
import { BLOCK_BYTES } from './stream-page';

/** Stored blocks, in order of their numbers, as extents of the disk: neighbours are one extent, and the last block ends with the disk. */
export async function* blockExtents(
  blockNumbers: Iterable<number> | AsyncIterable<number>,
  virtualSizeBytes: number,
): AsyncGenerator<Extent> {
  let run: Extent | undefined;
  for await (const number of blockNumbers) {
    const offset = number * BLOCK_BYTES;
    const length = Math.min(BLOCK_BYTES, virtualSizeBytes - offset);
    if (run !== undefined && run.offset + run.length === offset) run.length += length;
    else {
      if (run !== undefined) yield run;
      run = { offset, length };
    }
  }
  if (run !== undefined) yield run;
}
