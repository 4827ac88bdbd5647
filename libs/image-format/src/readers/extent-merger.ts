import type { Extent } from '../disk-reader';

/** Joins neighbouring extents, cuts them at the disk's end, and hands each on as soon as the next one leaves a gap. */
export class ExtentMerger {
  private open: Extent | undefined;

  constructor(private readonly virtualSizeBytes: number) {}

  /** Takes the next range in ascending order; gives the extent that it closed, if any. */
  push(offset: number, length: number): Extent | undefined {
    const clipped = Math.min(length, this.virtualSizeBytes - offset);
    if (clipped <= 0) return undefined;
    const open = this.open;
    if (open !== undefined && open.offset + open.length === offset) {
      open.length += clipped;
      return undefined;
    }
    this.open = { offset, length: clipped };
    return open;
  }

  end(): Extent | undefined {
    const open = this.open;
    this.open = undefined;
    return open;
  }
}
