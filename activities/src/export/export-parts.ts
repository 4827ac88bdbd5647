import { createHash, type Hash } from 'node:crypto';
import type { ExportedPart } from '@ims/db';
import { z } from 'zod';
import { type ExportFile, FIRST_MARK, type PartMark, streamMarkOf } from './export-file';

/** A part of the file, ready to be sent. */
export interface MadePart {
  part: number;
  pieces: Uint8Array[];
  sizeBytes: number;
  md5: Buffer;
  mark: PartMark;
}

/** What had been sent was made by other code: the bytes that follow would not fit. */
export class OtherBytesError extends Error {
  override readonly name = 'OtherBytesError';
}

const partMark = z.object({
  piece: z.number(),
  start: z.number(),
  notes: z.array(z.number()),
  prefixMd5: z.string(),
});

/**
 * The parts of a file behind those that the store has, in order. Each is held in memory until it is sent: its checksum goes before it.
 *
 * @throws OtherBytesError when the beginning of the piece in which the last part ended is not made the same again
 */
export async function* makeParts(
  source: ExportFile,
  partBytes: number,
  done: readonly ExportedPart[],
  signal: AbortSignal,
): AsyncGenerator<MadePart, void, undefined> {
  const sent = done.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const marks = done.map(({ mark }) => partMark.parse(mark));
  const cutter = new Cutter(done.length + 1, partBytes, marks.at(-1) ?? FIRST_MARK, source.kind === 'streamed');
  if (source.kind === 'positioned') {
    const { file } = source;
    // Asked for, an empty rest would still be looked up.
    if (sent < file.sizeBytes) {
      for await (const bytes of file.read({ offset: sent, length: file.sizeBytes - sent }, signal))
        yield* cutter.add(bytes);
    }
    yield* cutter.end();
    return;
  }
  const notes = marks.flatMap((mark) => mark.notes);
  const last = marks.at(-1) ?? FIRST_MARK;
  const prefix = createHash('md5');
  let position = last.start;
  for await (const { bytes, endsPiece, note } of source.file.read(streamMarkOf(last, notes), signal)) {
    const before = bytes.subarray(0, Math.max(0, sent - position));
    if (before.length > 0) {
      prefix.update(before);
      cutter.pass(before);
      if (position + before.length === sent && prefix.digest('hex') !== last.prefixMd5)
        throw new OtherBytesError('the bytes of the part before are not made the same again');
    }
    position += bytes.length;
    // Nothing of the new part has come yet; a piece that ends just here was ended in the part before, too.
    yield* cutter.add(bytes.subarray(before.length));
    if (endsPiece) cutter.endPiece(note);
  }
  if (position < sent) throw new OtherBytesError('the file is shorter than what was sent of it');
  yield* cutter.end();
}

/** Cuts a stream of bytes into parts, and keeps what has to be known where each ends. */
class Cutter {
  private pieces: Uint8Array[] = [];
  private sizeBytes = 0;
  private md5: Hash = createHash('md5');
  private prefix: Hash = createHash('md5');
  private notes: number[] = [];
  private piece: number;
  private start: number;
  private position: number;

  constructor(
    private part: number,
    private readonly partBytes: number,
    mark: PartMark,
    /** What has no pieces needs no checksum of them, which would be as much work as that of the parts. */
    private readonly hasPieces: boolean,
  ) {
    this.piece = mark.piece;
    this.start = mark.start;
    this.position = mark.start;
  }

  /** Bytes of the piece that went with the part before. */
  pass(bytes: Uint8Array): void {
    this.prefix.update(bytes);
    this.position += bytes.length;
  }

  *add(bytes: Uint8Array): Generator<MadePart> {
    for (let at = 0; at < bytes.length;) {
      const taken = bytes.subarray(at, at + this.partBytes - this.sizeBytes);
      this.pieces.push(taken);
      this.sizeBytes += taken.length;
      this.md5.update(taken);
      if (this.hasPieces) this.prefix.update(taken);
      this.position += taken.length;
      at += taken.length;
      if (this.sizeBytes === this.partBytes) yield this.cut();
    }
  }

  endPiece(note: number | undefined): void {
    this.piece += 1;
    this.start = this.position;
    this.prefix = createHash('md5');
    if (note !== undefined) this.notes.push(note);
  }

  *end(): Generator<MadePart> {
    if (this.sizeBytes > 0) yield this.cut();
  }

  private cut(): MadePart {
    const { part, pieces, sizeBytes, piece, start, notes } = this;
    const made = {
      part,
      pieces,
      sizeBytes,
      md5: this.md5.digest(),
      mark: { piece, start, notes, prefixMd5: this.prefix.copy().digest('hex') },
    };
    this.part += 1;
    this.pieces = [];
    this.sizeBytes = 0;
    this.md5 = createHash('md5');
    this.notes = [];
    return made;
  }
}
