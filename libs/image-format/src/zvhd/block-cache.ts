/** Decoded blocks kept by a reader: 4 x 2 MiB serve small neighbouring reads without holding a disk in memory. */
const KEPT_BLOCKS = 4;

/** The least recently used block goes first. */
export class BlockCache {
  private readonly blocks = new Map<number, Buffer>();

  get(number: number): Buffer | undefined {
    const block = this.blocks.get(number);
    if (block !== undefined) {
      this.blocks.delete(number);
      this.blocks.set(number, block);
    }
    return block;
  }

  set(number: number, block: Buffer): void {
    this.blocks.set(number, block);
    for (const oldest of this.blocks.keys()) {
      if (this.blocks.size <= KEPT_BLOCKS) break;
      this.blocks.delete(oldest);
    }
  }
}
