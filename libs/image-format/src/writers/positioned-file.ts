import { type ByteRange, type DiskBytes, readSegments, SEGMENT_BYTES } from './disk-bytes';

/** A file whose every byte is known by its place: any part of it can be made by itself, and again. */
export interface PositionedFile {
  readonly sizeBytes: number;
  /** The whole file, or a range of it, in chunks; a range is cut at the file's end. */
  read(range?: ByteRange, signal?: AbortSignal): AsyncIterable<Uint8Array>;
}

/** A stretch of such a file. `read` gives the bytes from one place inside it up to another. */
export interface Section {
  readonly length: number;
  read(from: number, to: number, signal?: AbortSignal): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** Bytes that are at hand. */
export const fixedSection = (bytes: Buffer): Section => ({
  length: bytes.length,
  read: (from, to) => [bytes.subarray(from, to)],
});

/** `count` pieces of one length that are made when they are asked for, so that the tables of a large disk never lie in memory. */
export const madeSection = (pieceBytes: number, count: number, make: (n: number) => Buffer): Section => ({
  length: pieceBytes * count,
  *read(from, to) {
    for (let n = Math.floor(from / pieceBytes); n * pieceBytes < to; n += 1) {
      const at = n * pieceBytes;
      yield make(n).subarray(Math.max(0, from - at), Math.min(pieceBytes, to - at));
    }
  },
});

/** The named segments one after the other, each behind `head`; `lastBytes` is what of the last one belongs to the file. */
export const segmentSection = (
  disk: DiskBytes,
  segments: Uint32Array,
  { head, lastBytes }: { head: Buffer; lastBytes: number },
): Section => {
  const pieceBytes = head.length + SEGMENT_BYTES;
  return {
    length: segments.length === 0 ? 0 : (segments.length - 1) * pieceBytes + head.length + lastBytes,
    async *read(from, to, signal) {
      const first = Math.floor(from / pieceBytes);
      let at = first * pieceBytes;
      const wanted = segments.subarray(first, Math.ceil(to / pieceBytes));
      for await (const { bytes } of readSegments(disk, wanted, signal)) {
        for (const piece of [head, bytes]) {
          const cut = piece.subarray(Math.max(0, from - at), Math.max(0, Math.min(piece.length, to - at)));
          if (cut.length > 0) yield cut;
          at += piece.length;
        }
      }
    },
  };
};

export function joinSections(sections: readonly Section[]): PositionedFile {
  const sizeBytes = sections.reduce((sum, { length }) => sum + length, 0);
  return {
    sizeBytes,
    async *read(range = { offset: 0, length: sizeBytes }, signal) {
      const end = Math.min(sizeBytes, range.offset + range.length);
      let at = 0;
      for (const section of sections) {
        const from = Math.max(0, range.offset - at);
        const to = Math.min(section.length, end - at);
        if (from < to) {
          for await (const chunk of section.read(from, to, signal)) {
            signal?.throwIfAborted();
            yield chunk;
          }
        }
        at += section.length;
      }
    },
  };
}
