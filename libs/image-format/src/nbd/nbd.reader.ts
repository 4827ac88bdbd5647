import type { Socket } from 'node:net';
import { connect } from 'node:net';
import type { DiskReader, Extent } from '../disk-reader';
import { ExtentMerger } from '../readers/extent-merger';
import { broken, converterFailed } from '../refusal';
import { ByteReader } from './byte-reader';
import { shakeHands } from './nbd-handshake';
import * as nbd from './nbd-protocol';

// One segment; qemu splits larger requests anyway and answers them later than several small ones.
const MAX_READ_BYTES = 2 * 1024 * 1024;
// A whole number of clusters of every format, below the 32 bits of a request's length.
const STATUS_BYTES = 2 ** 30;
// A reply with one descriptor (8 bytes) per 64 KiB of STATUS_BYTES has 128 KiB; ten times that is a broken server.
const MAX_SMALL_CHUNK_BYTES = 2 * 1024 * 1024;

interface BlockStatus {
  length: number;
  isData: boolean;
}

interface Pending {
  offset: number;
  /** Cleared on abort: the caller may reuse its buffer, so bytes that still arrive are dropped. */
  target: Uint8Array | undefined;
  filled: number;
  statuses: BlockStatus[];
  error: Error | undefined;
  settle(error?: Error): void;
}

/**
 * A disk behind an NBD server on a Unix socket: requests are pipelined on one connection, holes come from `base:allocation` block status.
 * An error the server reports for a range means damaged content (`IMG.0057`); a lost connection is `IMG.0061`.
 */
export class NbdReader implements DiskReader {
  private readonly pending = new Map<number, Pending>();
  private nextHandle = 1;
  private lost: Error | undefined;
  private readonly parser: ReplyParser;

  private constructor(
    private readonly socket: Socket,
    readonly virtualSizeBytes: number,
    private readonly hasBlockStatus: boolean,
    leftOver: Buffer,
  ) {
    this.parser = new ReplyParser(
      (handle) => this.pending.get(handle),
      (handle) => this.finish(handle),
    );
    socket.on('data', (chunk: Buffer) => this.receive(chunk));
    socket.on('error', () => this.fail(converterFailed('the connection to the converter failed')));
    socket.on('close', () => this.fail(converterFailed('the converter ended unexpectedly')));
    if (leftOver.length > 0) this.receive(leftOver);
  }

  /** Connects to the default export. Fails with `IMG.0061` when nobody listens or the peer is no NBD server. */
  static async connect(socketPath: string, signal?: AbortSignal): Promise<NbdReader> {
    signal?.throwIfAborted();
    const socket = connect(socketPath);
    const reader = new ByteReader(socket);
    const abort = (): void => void socket.destroy();
    signal?.addEventListener('abort', abort, { once: true });
    try {
      const { sizeBytes, hasBlockStatus } = await shakeHands(socket, reader);
      return new NbdReader(socket, sizeBytes, hasBlockStatus, reader.release());
    } catch (error) {
      socket.destroy();
      // Late errors of a destroyed socket have nobody left to tell.
      socket.on('error', () => undefined);
      signal?.throwIfAborted();
      if (error instanceof Error && error.name === 'ImsError') throw error;
      throw converterFailed('the converter cannot be reached');
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  async *extents(signal?: AbortSignal): AsyncIterable<Extent> {
    if (!this.hasBlockStatus) {
      yield { offset: 0, length: this.virtualSizeBytes };
      return;
    }
    const merger = new ExtentMerger(this.virtualSizeBytes);
    let offset = 0;
    while (offset < this.virtualSizeBytes) {
      const length = Math.min(STATUS_BYTES, this.virtualSizeBytes - offset);
      const statuses = await this.request(nbd.COMMAND.blockStatus, offset, length, undefined, signal);
      let covered = 0;
      for (const { isData, length: run } of statuses) {
        const closed = isData ? merger.push(offset + covered, run) : undefined;
        if (closed !== undefined) yield closed;
        covered += run;
      }
      if (covered === 0) throw converterFailed('the converter does not tell where data lies');
      offset += covered;
    }
    const last = merger.end();
    if (last !== undefined) yield last;
  }

  async read(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void> {
    const inside = Math.max(0, Math.min(target.length, this.virtualSizeBytes - offset));
    const requests: Promise<unknown>[] = [];
    for (let at = 0; at < inside; at += MAX_READ_BYTES) {
      const part = target.subarray(at, Math.min(at + MAX_READ_BYTES, inside));
      requests.push(this.request(nbd.COMMAND.read, offset + at, part.length, part, signal));
    }
    target.fill(0, inside);
    const results = await Promise.allSettled(requests);
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  close(): Promise<void> {
    this.lost ??= converterFailed('the reader is closed');
    if (!this.socket.destroyed) {
      this.socket.write(requestBytes(nbd.COMMAND.disconnect, 0, 0, 0));
      this.socket.end();
      this.socket.destroySoon();
    }
    this.fail(this.lost);
    return Promise.resolve();
  }

  private request(
    command: number,
    offset: number,
    length: number,
    target: Uint8Array | undefined,
    signal: AbortSignal | undefined,
  ): Promise<BlockStatus[]> {
    signal?.throwIfAborted();
    if (this.lost !== undefined) return Promise.reject(this.lost);
    const handle = this.nextHandle++;
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        pending.target = undefined;
        reject(signal?.reason instanceof Error ? signal.reason : new Error('aborted'));
      };
      const pending: Pending = {
        offset,
        target,
        filled: 0,
        statuses: [],
        error: undefined,
        settle: (error) => {
          signal?.removeEventListener('abort', abort);
          if (error !== undefined) reject(error);
          else if (target !== undefined && pending.filled !== target.length)
            reject(converterFailed('the converter answered with too few bytes'));
          else resolve(pending.statuses);
        },
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.pending.set(handle, pending);
      this.socket.write(requestBytes(command, handle, offset, length));
    });
  }

  private receive(chunk: Buffer): void {
    try {
      this.parser.push(chunk);
    } catch (error) {
      this.fail(error instanceof Error ? error : converterFailed('the converter sent something unreadable'));
      this.socket.destroy();
    }
  }

  private finish(handle: number): void {
    const pending = this.pending.get(handle);
    this.pending.delete(handle);
    pending?.settle(pending.error);
  }

  private fail(error: Error): void {
    this.lost ??= error;
    for (const [handle, pending] of this.pending) {
      this.pending.delete(handle);
      pending.settle(this.lost);
    }
  }
}

function requestBytes(command: number, handle: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(nbd.REQUEST_BYTES);
  bytes.writeUInt32BE(nbd.REQUEST_MAGIC, 0);
  bytes.writeUInt16BE(command, 6);
  bytes.writeBigUInt64BE(BigInt(handle), 8);
  bytes.writeBigUInt64BE(BigInt(offset), 16);
  bytes.writeUInt32BE(length, 24);
  return bytes;
}

interface ChunkHead {
  isDone: boolean;
  type: number;
  handle: number;
  pending: Pending;
  length: number;
}

/** Takes structured replies apart as they arrive; data goes straight into the reader's buffer, whatever the packet borders are. */
class ReplyParser {
  /** Head, or the whole payload of every chunk but data, collected until complete. */
  private small = Buffer.alloc(nbd.STRUCTURED_REPLY_BYTES);
  private smallFilled = 0;
  private chunk: ChunkHead | undefined;
  /** Set while the data of a chunk streams in. */
  private data: { at: number; left: number } | undefined;

  constructor(
    private readonly pendingOf: (handle: number) => Pending | undefined,
    private readonly finish: (handle: number) => void,
  ) {}

  push(packet: Buffer): void {
    let at = 0;
    while (at < packet.length) {
      if (this.data !== undefined) at += this.takeData(packet.subarray(at), this.data);
      else at += this.takeSmall(packet.subarray(at));
    }
  }

  private takeData(bytes: Buffer, data: { at: number; left: number }): number {
    const taken = Math.min(bytes.length, data.left);
    const pending = this.chunk?.pending;
    pending?.target?.set(bytes.subarray(0, taken), data.at);
    if (pending !== undefined) pending.filled += taken;
    data.at += taken;
    data.left -= taken;
    if (data.left === 0) this.endChunk();
    return taken;
  }

  private takeSmall(bytes: Buffer): number {
    const taken = Math.min(bytes.length, this.small.length - this.smallFilled);
    bytes.copy(this.small, this.smallFilled, 0, taken);
    this.smallFilled += taken;
    if (this.smallFilled < this.small.length) return taken;
    if (this.chunk === undefined) this.startChunk();
    else this.takePayload(this.chunk);
    return taken;
  }

  private startChunk(): void {
    const head = this.small;
    if (head.readUInt32BE(0) !== nbd.STRUCTURED_REPLY_MAGIC)
      throw converterFailed('the converter speaks an unknown protocol');
    const handle = Number(head.readBigUInt64BE(8));
    const pending = this.pendingOf(handle);
    if (pending === undefined) throw converterFailed('the converter answered a question nobody asked');
    const chunk: ChunkHead = {
      isDone: (head.readUInt16BE(4) & nbd.CHUNK_DONE) !== 0,
      type: head.readUInt16BE(6),
      handle,
      pending,
      length: head.readUInt32BE(16),
    };
    this.chunk = chunk;
    // Of a data chunk only the offset in front is collected, the rest streams.
    const wanted = chunk.type === nbd.CHUNK.offsetData ? Math.min(8, chunk.length) : chunk.length;
    if (wanted > MAX_SMALL_CHUNK_BYTES) throw converterFailed('the converter sent an oversized answer');
    if (wanted === 0) this.takePayload(chunk);
    else this.expect(wanted);
  }

  private takePayload(chunk: ChunkHead): void {
    const { pending, type } = chunk;
    const payload = chunk.length === 0 ? Buffer.alloc(0) : this.small;
    if (type === nbd.CHUNK.offsetData) {
      const at = this.placeOf(pending, payload, chunk.length - 8);
      this.data = { at, left: chunk.length - 8 };
      if (this.data.left === 0) this.endChunk();
      return;
    }
    if (type === nbd.CHUNK.offsetHole) {
      if (payload.length < 12) throw converterFailed('the converter sent a cut-off answer');
      const length = payload.readUInt32BE(8);
      const at = this.placeOf(pending, payload, length);
      pending.target?.fill(0, at, at + length);
      pending.filled += length;
    } else if (type === nbd.CHUNK.blockStatus) {
      for (let at = 4; at + 8 <= payload.length; at += 8) {
        const isData = (payload.readUInt32BE(at + 4) & nbd.STATUS_ZERO) === 0;
        pending.statuses.push({ isData, length: payload.readUInt32BE(at) });
      }
    } else if ((type & nbd.CHUNK.errorBit) !== 0) {
      pending.error ??= broken('the converter cannot read a range of the disk: its content is damaged');
    } else if (type !== nbd.CHUNK.none) throw converterFailed('the converter speaks an unknown protocol');
    this.endChunk();
  }

  private placeOf(pending: Pending, payload: Buffer, length: number): number {
    if (payload.length < 8) throw converterFailed('the converter sent a cut-off answer');
    const at = Number(payload.readBigUInt64BE(0)) - pending.offset;
    const room = pending.target?.length ?? Number.MAX_SAFE_INTEGER;
    if (at < 0 || length < 0 || at + length > room)
      throw converterFailed('the converter answered outside the question');
    return at;
  }

  private endChunk(): void {
    const chunk = this.chunk;
    this.chunk = undefined;
    this.data = undefined;
    this.expect(nbd.STRUCTURED_REPLY_BYTES);
    if (chunk?.isDone === true) this.finish(chunk.handle);
  }

  private expect(length: number): void {
    this.small = Buffer.alloc(length);
    this.smallFilled = 0;
  }
}
