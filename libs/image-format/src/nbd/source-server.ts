import type { Server, Socket } from 'node:net';
import { createServer } from 'node:net';
import type { ByteSource } from '@ims/buckets';
import { ByteReader } from './byte-reader';
import * as nbd from './nbd-protocol';

// qemu's own upper bound of one request.
const MAX_REQUEST_BYTES = 32 * 1024 * 1024;
const MAX_OPTION_BYTES = 4096;

/**
 * Offers a byte source read-only as NBD export on a Unix socket, so that a sandboxed converter can read an object of a remote store without a copy of
 * it on disk and without network. A read that fails is never answered and must end the converter as a whole, so that a failure of the store is not
 * mistaken for damage in the file.
 */
export class SourceServer {
  private readonly sockets = new Set<Socket>();
  /** The first failure of the source, which is the true reason when the converter fails. */
  failure: unknown;

  private constructor(
    private readonly server: Server,
    private readonly source: ByteSource,
    private readonly onFailure: () => void,
  ) {}

  /** `onFailure` is called once when a read of the source fails; it has to end the converter. */
  static async listen(socketPath: string, source: ByteSource, onFailure: () => void): Promise<SourceServer> {
    const server = createServer();
    const serving = new SourceServer(server, source, onFailure);
    server.on('connection', (socket) => serving.accept(socket));
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(socketPath, resolve);
    });
    return serving;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }

  private accept(socket: Socket): void {
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
    // Any failure ends this connection and nothing else; the peer is a sandboxed process of ours.
    this.serve(socket).catch(() => socket.destroy());
  }

  private async serve(socket: Socket): Promise<void> {
    const reader = new ByteReader(socket);
    const greeting = Buffer.alloc(18);
    nbd.INIT_MAGIC.copy(greeting);
    nbd.OPTION_MAGIC.copy(greeting, 8);
    greeting.writeUInt16BE(nbd.FLAG_FIXED_NEWSTYLE | nbd.FLAG_NO_ZEROES, 16);
    socket.write(greeting);
    const hasNoZeroes = ((await reader.take(4)).readUInt32BE(0) & nbd.FLAG_NO_ZEROES) !== 0;
    if (!(await this.negotiate(socket, reader, hasNoZeroes))) return void socket.end();
    for (;;) {
      const head = await reader.take(nbd.REQUEST_BYTES);
      if (head.readUInt32BE(0) !== nbd.REQUEST_MAGIC) throw new Error('no NBD request');
      const command = head.readUInt16BE(6);
      if (command === nbd.COMMAND.disconnect) return void socket.end();
      const handle = Buffer.from(head.subarray(8, 16));
      const offset = Number(head.readBigUInt64BE(16));
      const length = head.readUInt32BE(24);
      if (command !== nbd.COMMAND.read) {
        // A command with a payload would be taken for the next request.
        socket.write(simpleReply(nbd.ERROR.permission, handle));
        return void socket.end();
      }
      // Not awaited: requests are answered as they finish.
      void this.answer(socket, handle, offset, length);
    }
  }

  private async answer(socket: Socket, handle: Buffer, offset: number, length: number): Promise<void> {
    if (length > MAX_REQUEST_BYTES || offset + length > exportBytes(this.source)) {
      socket.write(simpleReply(nbd.ERROR.invalid, handle));
      return;
    }
    const bytes = Buffer.alloc(length);
    try {
      const inside = Math.max(0, Math.min(length, this.source.sizeBytes - offset));
      if (inside > 0) await this.source.read(offset, bytes.subarray(0, inside));
    } catch (error) {
      // No answer at all: the converter would pass an error on as damage in the file before it can be killed.
      if (this.failure !== undefined) return;
      this.failure = error;
      this.onFailure();
      return;
    }
    if (socket.destroyed) return;
    socket.cork();
    socket.write(simpleReply(0, handle));
    socket.write(bytes);
    socket.uncork();
  }

  /** True once the client has chosen the export. */
  private async negotiate(socket: Socket, reader: ByteReader, hasNoZeroes: boolean): Promise<boolean> {
    const size = Buffer.alloc(10);
    size.writeBigUInt64BE(BigInt(exportBytes(this.source)), 0);
    size.writeUInt16BE(nbd.EXPORT_FLAG.hasFlags | nbd.EXPORT_FLAG.readOnly, 8);
    for (;;) {
      const head = await reader.take(16);
      const option = head.readUInt32BE(8);
      const length = head.readUInt32BE(12);
      if (!head.subarray(0, 8).equals(nbd.OPTION_MAGIC) || length > MAX_OPTION_BYTES) throw new Error('no NBD option');
      await reader.take(length);
      switch (option) {
        case nbd.OPTION.exportName:
          socket.write(hasNoZeroes ? size : Buffer.concat([size, Buffer.alloc(124)]));
          return true;
        case nbd.OPTION.info:
        case nbd.OPTION.go:
          socket.write(optionReply(option, nbd.OPTION_REPLY.info, Buffer.concat([Buffer.alloc(2), size])));
          socket.write(optionReply(option, nbd.OPTION_REPLY.ack));
          if (option === nbd.OPTION.go) return true;
          break;
        case nbd.OPTION.abort:
          socket.write(optionReply(option, nbd.OPTION_REPLY.ack));
          return false;
        default:
          socket.write(optionReply(option, nbd.OPTION_REPLY.errorUnsupported));
      }
    }
  }
}

// qemu reads files in whole sectors; what it asks for past the last byte reads as zeros, as it would at the end of a local file.
const exportBytes = (source: ByteSource): number => Math.ceil(source.sizeBytes / 512) * 512;

function simpleReply(error: number, handle: Buffer): Buffer {
  const reply = Buffer.alloc(16);
  reply.writeUInt32BE(nbd.SIMPLE_REPLY_MAGIC, 0);
  reply.writeUInt32BE(error, 4);
  handle.copy(reply, 8);
  return reply;
}

function optionReply(option: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const reply = Buffer.alloc(20 + data.length);
  reply.writeBigUInt64BE(nbd.OPTION_REPLY_MAGIC, 0);
  reply.writeUInt32BE(option, 8);
  reply.writeUInt32BE(type, 12);
  reply.writeUInt32BE(data.length, 16);
  data.copy(reply, 20);
  return reply;
}
