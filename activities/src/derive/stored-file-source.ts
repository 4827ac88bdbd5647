import type { ByteSource } from '@ims/buckets';
import type { DiskFile } from '@ims/image-store';

// One segment of the store: a reader of headers and tables asks for few bytes at a time, and each look-up costs as much as this many.
const BLOCK_BYTES = 2 * 1024 * 1024;
// What is read ahead and behind by a reader that goes through a file with its tables at another place, and by the reads of several lanes.
const KEPT_BLOCKS = 8;

/** A stored file behind the interface of files in buckets: read by blocks, of which the last few are kept. It never changes. */
export class StoredFileSource implements ByteSource {
  // In order of last use.
  private readonly blocks = new Map<number, Promise<Uint8Array>>();

  constructor(
    private readonly file: DiskFile,
    private readonly signal: AbortSignal,
  ) {}

  get sizeBytes(): number {
    return this.file.sizeBytes;
  }

  async read(position: number, target: Uint8Array): Promise<void> {
    if (position < 0 || position + target.length > this.sizeBytes)
      throw new RangeError(`read of ${target.length} bytes at ${position} in a file of ${this.sizeBytes}`);
    for (let at = 0; at < target.length;) {
      const block = Math.floor((position + at) / BLOCK_BYTES);
      const from = position + at - block * BLOCK_BYTES;
      const bytes = (await this.block(block)).subarray(from, from + target.length - at);
      target.set(bytes, at);
      at += bytes.length;
    }
  }

  async *dataRanges(): AsyncIterable<{ offset: number; length: number }> {
    yield* this.file.dataRanges();
  }

  checkUnchanged(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.blocks.clear();
    return Promise.resolve();
  }

  private block(number: number): Promise<Uint8Array> {
    const bytes = this.blocks.get(number) ?? this.load(number);
    this.blocks.delete(number);
    this.blocks.set(number, bytes);
    for (const oldest of this.blocks.keys()) {
      if (this.blocks.size <= KEPT_BLOCKS) break;
      this.blocks.delete(oldest);
    }
    return bytes;
  }

  private async load(number: number): Promise<Uint8Array> {
    const offset = number * BLOCK_BYTES;
    const bytes = new Uint8Array(Math.min(BLOCK_BYTES, this.sizeBytes - offset));
    let at = 0;
    try {
      for await (const chunk of this.file.read({ offset, length: bytes.length }, this.signal)) {
        bytes.set(chunk, at);
        at += chunk.length;
      }
    } catch (error) {
      // The next one who asks tries again.
      this.blocks.delete(number);
      throw error;
    }
    if (at !== bytes.length)
      throw new RangeError(`block ${number} of a stored file has ${at} of ${bytes.length} bytes`);
    return bytes;
  }
}
