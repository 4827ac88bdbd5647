import type { ByteSource } from '@ims/buckets';
import type { DiskReader, Extent, Inspection } from '../disk-reader';
import { ExtentMerger } from '../readers/extent-merger';
import { BlockCache } from './block-cache';
import { blockLength, checkTail, decodeHead, HEAD_BYTES, TAIL_BYTES } from './data-block';
import { BlockInflater } from './block-inflater';
import { BLOCK_BYTES, decodeStreamPage, hasCookie, PAGE_BYTES, refuse, type StreamPage } from './stream-page';

/** The largest data disk (image-formats 6: 1 TiB for system disks, data 2 TiB). */
const ZVHD_LIMIT_BYTES = 2 * 1024 ** 4;
/** Small payloads lie close together: one read of this size walks over many heads, which matters on object stores. */
const WALK_WINDOW_BYTES = 64 * 1024;

interface DataBlock {
  blockNumber: number;
  payloadOffset: number;
  payloadBytes: number;
}

/**
 * Checks a ZVHD file by walking over all block heads up to the end page, without unpacking (image-formats 3). Returns the original size.
 * Throws `ImsError` IMG.0057 with the reason.
 */
export async function inspectZvhd(source: ByteSource, signal?: AbortSignal): Promise<Inspection> {
  const page = await readHeader(source, signal);
  for await (const block of walkBlocks(source, page, signal)) void block;
  return { format: 'zvhd', virtualSizeBytes: page.originalSizeBytes };
}

/**
 * Opens a ZVHD file. The format is one compressed stream without an index, so the reader is a cursor: reading forward is cheap, jumping
 * forward unpacks what lies between, and a read behind the cursor **restarts** from the file's beginning (right, but slow; the last
 * four blocks are kept). Reads are served one at a time. Throws IMG.0057 where the file breaks a rule. Closing the reader closes the source.
 */
export async function openZvhd(source: ByteSource, signal?: AbortSignal): Promise<DiskReader> {
  return new ZvhdReader(source, await readHeader(source, signal));
}

class ZvhdReader implements DiskReader {
  readonly virtualSizeBytes: number;
  private readonly cache = new BlockCache();
  private cursor: Cursor | undefined;
  private queue: Promise<void> = Promise.resolve();

  constructor(
    private readonly source: ByteSource,
    private readonly page: StreamPage,
  ) {
    this.virtualSizeBytes = page.originalSizeBytes;
  }

  async *extents(signal?: AbortSignal): AsyncGenerator<Extent> {
    const merger = new ExtentMerger(this.virtualSizeBytes);
    for await (const { blockNumber } of walkBlocks(this.source, this.page, signal)) {
      const closed = merger.push(blockNumber * BLOCK_BYTES, BLOCK_BYTES);
      if (closed !== undefined) yield closed;
    }
    const last = merger.end();
    if (last !== undefined) yield last;
  }

  read(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    const turn = this.queue.then(() => this.readNow(offset, target, signal));
    // The next reader waits for this one whatever becomes of it; the failure belongs to this caller alone.
    this.queue = turn.catch(() => undefined);
    return turn;
  }

  async close(): Promise<void> {
    await this.queue;
    this.dropCursor();
    await this.source.close();
  }

  private async readNow(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    for (let done = 0; done < target.length;) {
      const position = offset + done;
      const number = Math.floor(position / BLOCK_BYTES);
      const within = position - number * BLOCK_BYTES;
      const part = target.subarray(done, done + Math.min(target.length - done, BLOCK_BYTES - within));
      const block = position < this.virtualSizeBytes ? await this.block(number, signal) : undefined;
      if (block === undefined) part.fill(0);
      else {
        const visible = Math.min(part.length, this.virtualSizeBytes - position);
        part.set(block.subarray(within, within + visible));
        part.fill(0, visible);
      }
      done += part.length;
    }
  }

  /** `undefined` for a block of zeros. */
  private async block(number: number, signal?: AbortSignal): Promise<Buffer | undefined> {
    const cached = this.cache.get(number);
    if (cached !== undefined) return cached;
    if (this.cursor !== undefined && number <= this.cursor.lastUnpacked) {
      if (!this.cursor.hasUnpacked(number)) return undefined;
      this.dropCursor();
    }
    this.cursor ??= new Cursor(this.source, this.page);
    try {
      for (;;) {
        const next = await this.cursor.peek(signal);
        if (next === undefined || next.blockNumber > number) return undefined;
        const block = await this.cursor.unpack(next, signal);
        this.cache.set(next.blockNumber, block);
        if (next.blockNumber === number) return block;
      }
    } catch (error) {
      // A cursor that failed half way has lost its place in the compressed stream.
      this.dropCursor();
      throw error;
    }
  }

  private dropCursor(): void {
    this.cursor?.close();
    this.cursor = undefined;
  }
}

/** A place in the compressed stream: everything before it went through the one inflate state. */
class Cursor {
  lastUnpacked = -1;
  /** One bit per block, so that a hole behind the cursor is known as one without a restart. */
  private readonly unpacked: Uint8Array;
  private readonly blocks: AsyncGenerator<DataBlock, void, undefined>;
  private readonly inflater = new BlockInflater();
  private waiting: DataBlock | undefined;
  private ended = false;

  constructor(
    private readonly source: ByteSource,
    page: StreamPage,
  ) {
    this.blocks = walkBlocks(source, page);
    this.unpacked = new Uint8Array(Math.ceil(page.originalSizeBytes / BLOCK_BYTES / 8));
  }

  hasUnpacked(number: number): boolean {
    return ((this.unpacked[number >>> 3] ?? 0) & (1 << (number & 7))) !== 0;
  }

  async peek(signal?: AbortSignal): Promise<DataBlock | undefined> {
    signal?.throwIfAborted();
    if (this.waiting === undefined && !this.ended) {
      const step = await this.blocks.next();
      if (step.done === true) this.ended = true;
      else this.waiting = step.value;
    }
    return this.waiting;
  }

  async unpack(block: DataBlock, signal?: AbortSignal): Promise<Buffer> {
    const payload = Buffer.allocUnsafe(block.payloadBytes);
    await this.source.read(block.payloadOffset, payload, signal);
    const bytes = await this.inflater.unpack(payload, `block ${block.blockNumber}`);
    this.waiting = undefined;
    this.lastUnpacked = block.blockNumber;
    const byte = block.blockNumber >>> 3;
    this.unpacked[byte] = (this.unpacked[byte] ?? 0) | (1 << (block.blockNumber & 7));
    return bytes;
  }

  close(): void {
    this.inflater.close();
  }
}

async function readHeader(source: ByteSource, signal?: AbortSignal): Promise<StreamPage> {
  // Header and end page: what an empty disk needs.
  if (source.sizeBytes < 2 * PAGE_BYTES) throw refuse(`zvhd file of ${source.sizeBytes} bytes`);
  const page = Buffer.allocUnsafe(PAGE_BYTES);
  await source.read(0, page, signal);
  return decodeStreamPage(page, 'zvhd', 'header', ZVHD_LIMIT_BYTES);
}

/** The data blocks in file order, each checked but its content; ends at the end page and throws IMG.0057 when there is none. */
async function* walkBlocks(
  source: ByteSource,
  page: StreamPage,
  signal?: AbortSignal,
): AsyncGenerator<DataBlock, void, undefined> {
  const blockLimit = Math.ceil(page.originalSizeBytes / BLOCK_BYTES);
  const bytesAt = windowOver(source, signal);
  let previous = -1;
  for (let position = PAGE_BYTES; ;) {
    if (position + PAGE_BYTES > source.sizeBytes) throw refuse('zvhd file ends before its end page');
    const head = await bytesAt(position, HEAD_BYTES);
    if (hasCookie(head, 'zvhd')) return;
    const { blockNumber, payloadBytes } = decodeHead(head, `zvhd block at ${position}`);
    if (blockNumber <= previous) throw refuse(`zvhd block ${blockNumber} follows block ${previous}`);
    if (blockNumber >= blockLimit) throw refuse(`zvhd block ${blockNumber} lies past the end of the disk`);
    const end = position + blockLength(payloadBytes);
    if (end > source.sizeBytes) throw refuse(`zvhd block ${blockNumber} is cut short`);
    checkTail(await bytesAt(end - TAIL_BYTES, TAIL_BYTES), `zvhd block ${blockNumber}`);
    yield { blockNumber, payloadOffset: position + HEAD_BYTES, payloadBytes };
    previous = blockNumber;
    position = end;
  }
}

/** Small reads at rising positions, served from one buffer that moves along. */
function windowOver(source: ByteSource, signal?: AbortSignal): (position: number, length: number) => Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(Math.min(WALK_WINDOW_BYTES, source.sizeBytes));
  let start = 0;
  let filled = 0;
  return async (position, length) => {
    if (position < start || position + length > start + filled) {
      signal?.throwIfAborted();
      filled = Math.min(buffer.length, source.sizeBytes - position);
      start = position;
      await source.read(position, buffer.subarray(0, filled), signal);
    }
    return buffer.subarray(position - start, position - start + length);
  };
}
