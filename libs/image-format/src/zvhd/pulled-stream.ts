import type { Deflate, Inflate } from 'node:zlib';

/**
 * A zlib stream that is worked by pulling: it computes no more than what is taken out of it, so a caller that stops taking has
 * bounded it. (Flowing streams compute on while their consumer looks away.)
 */
export class PulledStream {
  private failure: Error | undefined;
  private wake: () => void = () => undefined;

  constructor(private readonly stream: Deflate | Inflate) {
    stream.on('readable', () => this.wake());
    stream.on('end', () => this.wake());
    stream.on('error', (error) => {
      this.failure = error;
      this.wake();
    });
  }

  /** Gives all output that follows from what `feed` puts in; `feed` calls `done` once the stream has taken it all. Throws the stream's error. */
  async *output(feed: (done: () => void) => void): AsyncGenerator<Buffer, void, undefined> {
    let fed = false;
    feed(() => {
      fed = true;
      this.wake();
    });
    for (;;) {
      const woken = new Promise<void>((resolve) => (this.wake = resolve));
      const piece: unknown = this.failure === undefined ? this.stream.read() : undefined;
      if (this.failure !== undefined) throw this.failure;
      if (Buffer.isBuffer(piece)) yield piece;
      else if (fed || this.stream.readableEnded) return;
      else await woken;
    }
  }

  close(): void {
    this.stream.destroy();
  }
}
