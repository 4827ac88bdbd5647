import type { Socket } from 'node:net';

/** Reads exact lengths off a socket while a handshake goes on in lock step; afterwards `release` gives what is left over. */
export class ByteReader {
  private buffered = Buffer.alloc(0);
  private failure: Error | undefined;
  private wake: (() => void) | undefined;

  private readonly onData = (chunk: Buffer): void => {
    this.buffered = Buffer.concat([this.buffered, chunk]);
    this.wake?.();
  };
  private readonly onEnd = (error?: unknown): void => {
    this.failure ??= error instanceof Error ? error : new Error('the connection was closed');
    this.wake?.();
  };

  constructor(private readonly socket: Socket) {
    socket.on('data', this.onData);
    socket.on('error', this.onEnd);
    socket.on('close', this.onEnd);
  }

  async take(length: number): Promise<Buffer> {
    while (this.buffered.length < length) {
      if (this.failure !== undefined) throw this.failure;
      await new Promise<void>((resolve) => (this.wake = resolve));
      this.wake = undefined;
    }
    const taken = this.buffered.subarray(0, length);
    this.buffered = this.buffered.subarray(length);
    return taken;
  }

  release(): Buffer {
    this.socket.off('data', this.onData);
    this.socket.off('error', this.onEnd);
    this.socket.off('close', this.onEnd);
    return this.buffered;
  }
}
