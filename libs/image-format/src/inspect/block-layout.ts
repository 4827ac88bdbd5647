/** A disk of equal blocks, each stored as it is somewhere in the file or not at all (VHD dynamic, VHDX, VDI). */
export interface BlockLayout {
  virtualSizeBytes: number;
  blockBytes: number;
  /** Where the block's guest bytes start in the file; `HOLE` when they are zeros and not stored. */
  hostOffsets: Float64Array;
}

export const HOLE = -1;

/** Block counts above this belong to disks over every limit; below it a map takes at most 32 MiB. 4 Mi blocks of 512 KiB, the smallest accepted, are 2 TiB. */
export const MAX_BLOCKS = 4 * 1024 * 1024;

/** Call only once the file has been found long enough to hold the table of these blocks. */
export const emptyMap = (blocks: number): Float64Array => new Float64Array(blocks).fill(HOLE);
