import type { ByteSource } from '@ims/buckets';
import { broken } from '../refusal';

// image-formats 1: detection looks at the first 64 KiB and the last 4 KiB; every header of a listed format but VHDX's fits into the former.
const HEAD_BYTES = 64 * 1024;
const TAIL_BYTES = 4 * 1024;
// Tables are walked in pieces of this size, so no length read from a file ever decides an allocation.
const PIECE_BYTES = 1024 * 1024;

/** Bounded view of an untrusted file: every range is compared with the file size before a byte is allocated or read. */
export class FileProbe {
  private constructor(
    private readonly source: ByteSource,
    /** The first 64 KiB, or the whole file when it is shorter. */
    readonly head: Buffer,
    /** The last 4 KiB, or the whole file when it is shorter. */
    readonly tail: Buffer,
    private readonly signal: AbortSignal | undefined,
  ) {}

  static async of(source: ByteSource, signal?: AbortSignal): Promise<FileProbe> {
    const head = Buffer.alloc(Math.min(HEAD_BYTES, source.sizeBytes));
    const tail = Buffer.alloc(Math.min(TAIL_BYTES, source.sizeBytes));
    await Promise.all([source.read(0, head, signal), source.read(source.sizeBytes - tail.length, tail, signal)]);
    return new FileProbe(source, head, tail, signal);
  }

  get sizeBytes(): number {
    return this.source.sizeBytes;
  }

  /** True when `length` bytes from `offset` lie inside the file. */
  holds(offset: number, length: number): boolean {
    return offset >= 0 && length >= 0 && offset <= this.sizeBytes && length <= this.sizeBytes - offset;
  }

  /** Fails with `IMG.0057` unless the range lies inside the file. */
  mustHold(offset: number, length: number, what: string): void {
    if (!this.holds(offset, length)) throw broken(`the ${what} lies outside the file`);
  }

  /** Reads a small structure; `what` names it in the refusal. */
  async bytes(offset: number, length: number, what: string): Promise<Buffer> {
    this.mustHold(offset, length, what);
    if (length > PIECE_BYTES) throw broken(`the ${what} is longer than any real one`);
    if (offset + length <= this.head.length) return this.head.subarray(offset, offset + length);
    const bytes = Buffer.alloc(length);
    await this.source.read(offset, bytes, this.signal);
    return bytes;
  }

  /** Walks a table in bounded pieces; the caller has bounded `length` by the format's own limit. */
  async *pieces(offset: number, length: number, what: string): AsyncIterable<Buffer> {
    this.mustHold(offset, length, what);
    for (let done = 0; done < length; done += PIECE_BYTES) {
      this.signal?.throwIfAborted();
      yield await this.bytes(offset + done, Math.min(PIECE_BYTES, length - done), what);
    }
  }

  /** True when the file has these bytes at `offset`, inside the first 64 KiB. */
  startsWith(magic: Buffer | string, offset = 0): boolean {
    const bytes = typeof magic === 'string' ? Buffer.from(magic, 'latin1') : magic;
    return this.head.length >= offset + bytes.length && this.head.subarray(offset, offset + bytes.length).equals(bytes);
  }
}

/** Unsigned 64-bit values above 2^53 lose their low bits here; they are larger than any accepted file, so every bound check still refuses them. */
export const u64be = (bytes: Buffer, offset: number): number => Number(bytes.readBigUInt64BE(offset));
export const u64le = (bytes: Buffer, offset: number): number => Number(bytes.readBigUInt64LE(offset));

export const isPowerOfTwo = (value: number): boolean => value > 0 && Number.isInteger(Math.log2(value));
