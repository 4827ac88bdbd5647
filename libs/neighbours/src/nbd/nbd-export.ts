import type { Server, Socket } from 'node:net';
import { createServer } from 'node:net';
import { rm } from 'node:fs/promises';
import type { StatusRun } from '../disk/layered-disk';
import { nbdProtocol as nbd } from '@ims/image-format';
import { SocketBytes } from './socket-bytes';

/** A disk as the export needs it; `LayeredDisk` is one. */
export interface ExportedDisk {
  readonly sizeBytes: number;
  read(offset: number, target: Uint8Array, signal?: AbortSignal): Promise<void>;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  writeZeroes(offset: number, length: number): Promise<void>;
  flush(): Promise<void>;
  status(offset: number, length: number): Promise<StatusRun[]>;
}

// qemu's own upper bound of one request.
const MAX_REQUEST_BYTES = 32 * 1024 * 1024;
const MAX_OPTION_BYTES = 8192;
// More than a client sends at once in practice (QEMU has 16 on the way); beyond it the next request is read only when one has been answered.
const MAX_IN_FLIGHT = 64;
// A block status answer describes at most this much: 16384 granules, so 128 KiB of answer at worst.
const MAX_STATUS_BYTES = 2 ** 30;

interface Session {
  hasStructuredReplies: boolean;
  hasAllocationContext: boolean;
}

interface Request {
  flags: number;
  command: number;
  handle: Buffer;
  offset: number;
  length: number;
  payload: Buffer;
}

/**
 * Offers one disk on a Unix socket as NBD server: fixed newstyle, structured replies, `base:allocation`. Several clients may connect; requests are
 * answered as they finish. A write is in the disk when it is answered, and survives a crash of the machine after a flush.
 *
 * @example const server = await NbdExport.listen('/run/ims/root.nbd', disk, { readOnly: true });
 */
export class NbdExport {
  private readonly sockets = new Set<Socket>();

  private constructor(
    readonly socketPath: string,
    private readonly server: Server,
    private readonly disk: ExportedDisk,
    private readonly readOnly: boolean,
  ) {}

  static async listen(socketPath: string, disk: ExportedDisk, options: { readOnly: boolean }): Promise<NbdExport> {
    const server = createServer();
    const served = new NbdExport(socketPath, server, disk, options.readOnly);
    server.on('connection', (socket) => served.accept(socket));
    // A socket of a process that was killed still lies there and would refuse the bind.
    await rm(socketPath, { force: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(socketPath, resolve);
    });
    return served;
  }

  /** Ends all connections and waits until no request uses the disk any more. */
  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    await Promise.all([closed, ...this.running]);
    await rm(this.socketPath, { force: true });
  }

  private readonly running = new Set<Promise<void>>();

  private accept(socket: Socket): void {
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
    // A peer that breaks the protocol or goes away ends its own connection and nothing else.
    const serving = this.serve(socket)
      // Answers that are still on their way to the peer are sent first.
      .then(() => socket.destroySoon())
      .catch(() => void socket.destroy())
      .finally(() => this.running.delete(serving));
    this.running.add(serving);
  }

  private async serve(socket: Socket): Promise<void> {
    const bytes = new SocketBytes(socket, MAX_REQUEST_BYTES);
    const session = await this.negotiate(socket, bytes);
    if (session === undefined) return;
    const inFlight = new Set<Promise<void>>();
    try {
      for (;;) {
        const request = await this.nextRequest(bytes);
        if (request === undefined || request.command === nbd.COMMAND.disconnect) break;
        const answer = this.answer(socket, session, request)
          .catch(() => void socket.destroy())
          .finally(() => inFlight.delete(answer));
        inFlight.add(answer);
        if (inFlight.size >= MAX_IN_FLIGHT) await Promise.race(inFlight);
      }
    } finally {
      await Promise.all(inFlight);
    }
  }

  private async nextRequest(bytes: SocketBytes): Promise<Request | undefined> {
    const head = await bytes.take(nbd.REQUEST_BYTES);
    if (head === undefined) return undefined;
    if (head.readUInt32BE(0) !== nbd.REQUEST_MAGIC) throw new Error('no NBD request');
    const command = head.readUInt16BE(6);
    const length = head.readUInt32BE(24);
    const hasPayload = command === nbd.COMMAND.write;
    if (hasPayload && length > MAX_REQUEST_BYTES) throw new Error('oversized NBD write');
    const payload = hasPayload ? await bytes.take(length) : Buffer.alloc(0);
    if (payload === undefined) return undefined;
    const offset = Number(head.readBigUInt64BE(16));
    return { flags: head.readUInt16BE(4), command, handle: Buffer.from(head.subarray(8, 16)), offset, length, payload };
  }

  private async answer(socket: Socket, session: Session, request: Request): Promise<void> {
    const { command, offset, length } = request;
    const refusal = this.refusalOf(request, session);
    if (refusal !== undefined) return send(socket, failure(session, request.handle, refusal));
    try {
      switch (command) {
        case nbd.COMMAND.read: {
          const data = Buffer.allocUnsafe(length);
          await this.disk.read(offset, data);
          return send(socket, readReply(session, request, data));
        }
        case nbd.COMMAND.blockStatus:
          return send(socket, await this.statusReply(request));
        case nbd.COMMAND.write:
          await this.disk.write(offset, request.payload);
          break;
        case nbd.COMMAND.writeZeroes:
          await this.disk.writeZeroes(offset, length);
          break;
        // Trim is a hint, and bytes below must not show through again: nothing is given back.
        default:
          break;
      }
      if (command === nbd.COMMAND.flush || (request.flags & nbd.COMMAND_FLAG_FUA) !== 0) await this.disk.flush();
      return send(socket, success(session, request.handle));
    } catch (error) {
      const isFull = typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOSPC';
      return send(socket, failure(session, request.handle, isFull ? nbd.ERROR.noSpace : nbd.ERROR.io));
    }
  }

  private refusalOf({ command, offset, length }: Request, session: Session): number | undefined {
    const { read, write, flush, trim, writeZeroes, blockStatus } = nbd.COMMAND;
    const isWrite = command === write || command === trim || command === writeZeroes;
    if (command === flush) return undefined;
    if (!isWrite && command !== read && command !== blockStatus) return nbd.ERROR.invalid;
    if (isWrite && this.readOnly) return nbd.ERROR.permission;
    if (command === blockStatus && (!session.hasAllocationContext || length === 0)) return nbd.ERROR.invalid;
    if (command === read && length > MAX_REQUEST_BYTES) return nbd.ERROR.invalid;
    if (offset + length > this.disk.sizeBytes) return isWrite ? nbd.ERROR.noSpace : nbd.ERROR.invalid;
    return undefined;
  }

  private async statusReply({ flags, handle, offset, length }: Request): Promise<Buffer[]> {
    const runs = await this.disk.status(offset, Math.min(length, MAX_STATUS_BYTES));
    const told = (flags & nbd.COMMAND_FLAG_REQUEST_ONE) !== 0 ? runs.slice(0, 1) : runs;
    const payload = Buffer.alloc(4 + told.length * 8);
    payload.writeUInt32BE(nbd.ALLOCATION_CONTEXT_ID, 0);
    for (const [index, run] of told.entries()) {
      payload.writeUInt32BE(run.length, 4 + index * 8);
      payload.writeUInt32BE(run.isData ? 0 : nbd.STATUS_HOLE_AND_ZERO, 8 + index * 8);
    }
    return [chunk(handle, nbd.CHUNK.blockStatus, payload.length), payload];
  }

  /** What the client chose; `undefined` when it went away. */
  private async negotiate(socket: Socket, bytes: SocketBytes): Promise<Session | undefined> {
    const greeting = Buffer.alloc(18);
    nbd.INIT_MAGIC.copy(greeting);
    nbd.OPTION_MAGIC.copy(greeting, 8);
    greeting.writeUInt16BE(nbd.FLAG_FIXED_NEWSTYLE | nbd.FLAG_NO_ZEROES, 16);
    socket.write(greeting);
    const clientFlags = await bytes.take(4);
    if (clientFlags === undefined) return undefined;
    const hasNoZeroes = (clientFlags.readUInt32BE(0) & nbd.FLAG_NO_ZEROES) !== 0;
    const session: Session = { hasStructuredReplies: false, hasAllocationContext: false };
    for (;;) {
      const head = await bytes.take(16);
      if (head === undefined) return undefined;
      const option = head.readUInt32BE(8);
      const length = head.readUInt32BE(12);
      if (!head.subarray(0, 8).equals(nbd.OPTION_MAGIC) || length > MAX_OPTION_BYTES) throw new Error('no NBD option');
      const data = await bytes.take(length);
      if (data === undefined) return undefined;
      switch (option) {
        case nbd.OPTION.exportName:
          socket.write(hasNoZeroes ? this.exportInfo() : Buffer.concat([this.exportInfo(), Buffer.alloc(124)]));
          return session;
        case nbd.OPTION.abort:
          socket.write(optionReply(option, nbd.OPTION_REPLY.ack));
          return undefined;
        case nbd.OPTION.list:
          // One export; its name is empty.
          socket.write(optionReply(option, nbd.OPTION_REPLY.server, Buffer.alloc(4)));
          socket.write(optionReply(option, nbd.OPTION_REPLY.ack));
          break;
        case nbd.OPTION.info:
        case nbd.OPTION.go:
          socket.write(optionReply(option, nbd.OPTION_REPLY.info, Buffer.concat([Buffer.alloc(2), this.exportInfo()])));
          socket.write(optionReply(option, nbd.OPTION_REPLY.ack));
          if (option === nbd.OPTION.go) return session;
          break;
        case nbd.OPTION.structuredReply:
          session.hasStructuredReplies = true;
          socket.write(optionReply(option, nbd.OPTION_REPLY.ack));
          break;
        case nbd.OPTION.listMetaContext:
        case nbd.OPTION.setMetaContext: {
          const asks = asksForAllocation(data, option === nbd.OPTION.listMetaContext);
          if (asks === undefined || !session.hasStructuredReplies) {
            socket.write(optionReply(option, nbd.OPTION_REPLY.errorInvalid));
            break;
          }
          if (option === nbd.OPTION.setMetaContext) session.hasAllocationContext = asks;
          if (asks) {
            const context = Buffer.alloc(4 + nbd.ALLOCATION_CONTEXT.length);
            context.writeUInt32BE(nbd.ALLOCATION_CONTEXT_ID, 0);
            context.write(nbd.ALLOCATION_CONTEXT, 4, 'latin1');
            socket.write(optionReply(option, nbd.OPTION_REPLY.metaContext, context));
          }
          socket.write(optionReply(option, nbd.OPTION_REPLY.ack));
          break;
        }
        default:
          socket.write(optionReply(option, nbd.OPTION_REPLY.errorUnsupported));
      }
    }
  }

  private exportInfo(): Buffer {
    const { hasFlags, readOnly, sendFlush, sendFua, sendTrim, sendWriteZeroes, canMultiConn } = nbd.EXPORT_FLAG;
    // All connections see one disk in this process, so what one has written and flushed the others read.
    const writable = sendFlush | sendFua | sendTrim | sendWriteZeroes | canMultiConn;
    const info = Buffer.alloc(10);
    info.writeBigUInt64BE(BigInt(this.disk.sizeBytes), 0);
    info.writeUInt16BE(hasFlags | (this.readOnly ? readOnly | canMultiConn : writable), 8);
    return info;
  }
}

/** Whether a meta context query asks for `base:allocation`; `undefined` when it is malformed. A list without queries asks for all. */
function asksForAllocation(data: Buffer, emptyAsksAll: boolean): boolean | undefined {
  if (data.length < 8) return undefined;
  let at = 4 + data.readUInt32BE(0);
  if (at + 4 > data.length) return undefined;
  const count = data.readUInt32BE(at);
  at += 4;
  let asks = emptyAsksAll && count === 0;
  for (let index = 0; index < count; index += 1) {
    if (at + 4 > data.length) return undefined;
    const length = data.readUInt32BE(at);
    at += 4;
    if (at + length > data.length) return undefined;
    const query = data.toString('latin1', at, at + length);
    if (query === nbd.ALLOCATION_CONTEXT || query === 'base:') asks = true;
    at += length;
  }
  return asks;
}

// The peer may have gone while its request was worked on.
function send(socket: Socket, parts: readonly Buffer[]): void {
  if (socket.destroyed) return;
  socket.cork();
  for (const part of parts) socket.write(part);
  socket.uncork();
}

function readReply(session: Session, { handle, offset }: Request, data: Buffer): Buffer[] {
  if (!session.hasStructuredReplies) return [simple(handle, 0), data];
  const at = Buffer.alloc(8);
  at.writeBigUInt64BE(BigInt(offset), 0);
  return [chunk(handle, nbd.CHUNK.offsetData, 8 + data.length), at, data];
}

function success(session: Session, handle: Buffer): Buffer[] {
  return [session.hasStructuredReplies ? chunk(handle, nbd.CHUNK.none, 0) : simple(handle, 0)];
}

function failure(session: Session, handle: Buffer, error: number): Buffer[] {
  if (!session.hasStructuredReplies) return [simple(handle, error)];
  const payload = Buffer.alloc(6);
  payload.writeUInt32BE(error, 0);
  return [chunk(handle, nbd.CHUNK.error, payload.length), payload];
}

function simple(handle: Buffer, error: number): Buffer {
  const reply = Buffer.alloc(16);
  reply.writeUInt32BE(nbd.SIMPLE_REPLY_MAGIC, 0);
  reply.writeUInt32BE(error, 4);
  handle.copy(reply, 8);
  return reply;
}

function chunk(handle: Buffer, type: number, length: number): Buffer {
  const head = Buffer.alloc(20);
  head.writeUInt32BE(nbd.STRUCTURED_REPLY_MAGIC, 0);
  head.writeUInt16BE(nbd.CHUNK_DONE, 4);
  head.writeUInt16BE(type, 6);
  handle.copy(head, 8);
  head.writeUInt32BE(length, 16);
  return head;
}

function optionReply(option: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(20);
  head.writeBigUInt64BE(nbd.OPTION_REPLY_MAGIC, 0);
  head.writeUInt32BE(option, 8);
  head.writeUInt32BE(type, 12);
  head.writeUInt32BE(data.length, 16);
  return Buffer.concat([head, data]);
}
