import type { Socket } from 'node:net';

/** Exact lengths off a socket. The socket is paused while more than one request's worth is waiting, so a fast peer cannot fill our memory. */
export class SocketBytes {
  private chunks: Buffer[] = [];
  private length = 0;
  private isOver = false;
  private wake: (() => void) | undefined;

  constructor(
    private readonly socket: Socket,
    private readonly highWaterBytes: number,
  ) {
    socket.on('data', (chunk: Buffer) => {
      this.chunks.push(chunk);
      this.length += chunk.length;
      if (this.length > this.highWaterBytes) socket.pause();
      this.wake?.();
    });
    const over = (): void => {
      this.isOver = true;
      this.wake?.();
    };
    socket.on('end', over);
    socket.on('error', over);
    socket.on('close', over);
  }

  /** `undefined` when the peer has gone before that many bytes came. */
  async take(length: number): Promise<Buffer | undefined> {
    while (this.length < length) {
      if (this.isOver) return undefined;
      this.socket.resume();
      await new Promise<void>((resolve) => (this.wake = resolve));
      this.wake = undefined;
    }
    const all = this.chunks.length === 1 && this.chunks[0] !== undefined ? this.chunks[0] : Buffer.concat(this.chunks);
    const rest = all.subarray(length);
    this.chunks = rest.length > 0 ? [rest] : [];
    this.length = rest.length;
    return all.subarray(0, length);
  }
}
