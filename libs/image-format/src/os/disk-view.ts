import { ImsError } from '@ims/contract';
import type { DiskReader } from '../disk-reader';

/** Readers fetch far more than this at once anyway; it is large enough that neighbouring inodes and directory blocks come together. */
const PAGE_BYTES = 16 * 1024;
/** Looking at a healthy disk takes some 40 pages; a disk that asks for more than 4 MiB is leading us in circles. */
const PAGE_BUDGET = 256;

/** Something on the disk is not as it should be; the message says what, in words for the person who asked. */
export class UnreadableError extends Error {
  override readonly name = 'UnreadableError';
}

/** Small reads from a disk with a bound on their sum, whatever the structures on the disk say. */
export class DiskView {
  readonly sizeBytes: number;
  private readonly pages = new Map<number, Buffer>();

  constructor(
    private readonly disk: DiskReader,
    private readonly signal?: AbortSignal,
  ) {
    this.sizeBytes = disk.virtualSizeBytes;
  }

  /**
   * `length` bytes (small: at most 64 KiB) from `offset`. Throws `UnreadableError` outside the disk, when the budget is used up, and when the
   * image file is damaged there; errors of the store behind it pass through, because they say nothing about the disk.
   */
  async bytes(offset: number, length: number): Promise<Buffer> {
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + length > this.sizeBytes) {
      throw new UnreadableError(`${length} bytes at ${offset} lie outside the disk`);
    }
    if (length > 4 * PAGE_BYTES) throw new UnreadableError(`a structure of ${length} bytes at ${offset} is too large`);
    const result = Buffer.alloc(length);
    for (let done = 0; done < length;) {
      const number = Math.floor((offset + done) / PAGE_BYTES);
      const within = offset + done - number * PAGE_BYTES;
      done += (await this.page(number)).copy(result, done, within, within + length - done);
    }
    return result;
  }

  private async page(number: number): Promise<Buffer> {
    const known = this.pages.get(number);
    if (known !== undefined) return known;
    if (this.pages.size >= PAGE_BUDGET) throw new UnreadableError('more had to be read than a healthy disk needs');
    const page = Buffer.alloc(PAGE_BYTES);
    try {
      await this.disk.read(number * PAGE_BYTES, page, this.signal);
    } catch (error) {
      if (error instanceof ImsError) throw new UnreadableError(error.message, { cause: error });
      throw error;
    }
    this.pages.set(number, page);
    return page;
  }
}
