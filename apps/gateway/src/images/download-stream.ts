import { Readable } from 'node:stream';

/**
 * The bytes that `read` gives. Reading stops as soon as nobody takes them any more (the client has gone, or the answer has ended), and after
 * `limitMs`: the stream then fails, because from there on the store need not keep the bytes.
 */
export function downloadStream(read: (signal: AbortSignal) => AsyncIterable<Uint8Array>, limitMs: number): Readable {
  const closed = new AbortController();
  const tooLong = AbortSignal.timeout(limitMs);
  const stream = Readable.from(read(AbortSignal.any([closed.signal, tooLong])), { objectMode: false });
  // A client that takes nothing leaves the reader waiting, where it looks at no signal.
  const end = (): void => {
    stream.destroy(new Error(`the download took longer than ${limitMs} ms`));
  };
  tooLong.addEventListener('abort', end, { once: true });
  return stream.once('close', () => {
    tooLong.removeEventListener('abort', end);
    closed.abort();
  });
}
