/** Where a piece of a streamed file begins, and what later pieces have to know of the earlier ones. Plain data. */
export interface StreamMark {
  piece: number;
  /** Place of the piece's first byte in the file. */
  start: number;
  /** What the pieces before this one have noted, in order. */
  notes: readonly number[];
}

export const STREAM_START: StreamMark = { piece: 0, start: 0, notes: [] };

export interface StreamChunk {
  bytes: Uint8Array;
  /** A piece ends with these bytes; the next one begins behind them. */
  endsPiece: boolean;
  /** Noted by the piece that ends here. */
  note?: number;
}

/**
 * A file whose bytes follow from one another, because they are compressed. It is made in order, from any mark on: whoever goes on with it makes
 * again at most the piece in which the other one was stopped.
 */
export interface StreamedFile {
  /** No file of this disk is longer. */
  readonly maxBytes: number;
  read(from: StreamMark, signal?: AbortSignal): AsyncIterable<StreamChunk>;
}

/** zlib adds to what does not compress five bytes for 16 KiB and its frame. Told generously: it decides on the size of parts alone. */
export const longestCompressed = (bytes: number): number => bytes + Math.ceil(bytes / 1000) + 64;

/** Works on several inputs at once, as the pool of threads does, and gives the results in order. */
export async function* inOrder<In, Out>(
  inputs: AsyncIterable<In> | Iterable<In>,
  atOnce: number,
  work: (input: In) => Promise<Out>,
): AsyncGenerator<Out, void, undefined> {
  const ahead: Promise<Out>[] = [];
  try {
    for await (const input of inputs) {
      const result = work(input);
      // Whoever awaits it gets its error; until then it is nobody's.
      result.catch(() => undefined);
      ahead.push(result);
      const first = ahead.length > atOnce ? ahead.shift() : undefined;
      if (first !== undefined) yield await first;
    }
    for (let first = ahead.shift(); first !== undefined; first = ahead.shift()) yield await first;
  } finally {
    await Promise.allSettled(ahead);
  }
}
