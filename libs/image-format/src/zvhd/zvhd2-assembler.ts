import { encodeHead, encodeTail, HEAD_BYTES } from './data-block';
import {
  bitmap,
  footerPage,
  headerPage,
  INDEX_ENTRY_BYTES,
  indexEntries,
  middlePage,
  type Zvhd2Layout,
} from './zvhd2-layout';

/** Index entries are made in pieces of 64 KiB: large enough for a socket, and never a whole index in memory. */
const ENTRIES_PER_PIECE = 4096;

/**
 * The bytes of a ZVHD2 file, or of one range of it, in order, from payloads that are stored already (design 4).
 * `readPayload(index)` gives the payload of segment `index`, whole or in pieces; it is called only for segments whose payload
 * lies in the range, one after the other, and its iterator is closed as soon as the range ends. `range` is in bytes of the file and
 * is cut at the file's end. Throws when a payload has another length than the layout says: the file would be unreadable.
 *
 * @example for await (const chunk of assembleZvhd2(layout, (index) => store.frames(index), { offset: 0, length: 4096 })) socket.write(chunk);
 */
export async function* assembleZvhd2(
  layout: Zvhd2Layout,
  readPayload: (index: number) => AsyncIterable<Uint8Array> | Promise<Uint8Array>,
  range: { offset: number; length: number } = { offset: 0, length: layout.sizeBytes },
): AsyncGenerator<Uint8Array, void, undefined> {
  const start = Math.max(0, range.offset);
  const end = Math.min(layout.sizeBytes, range.offset + range.length);
  const cut = (bytes: Uint8Array, at: number): Uint8Array => cutTo(bytes, at, start, end);
  const touches = (at: number, length: number): boolean => at < end && at + length > start && length > 0;
  if (start >= end) return;

  if (touches(0, layout.blockOffsets[0] ?? 0)) yield cut(headerPage(layout), 0);

  for (let k = firstBlockEndingAfter(layout, start); k < layout.blockCount; k++) {
    const at = layout.blockOffsets[k] ?? 0;
    if (at >= end) break;
    const number = layout.blockNumbers[k] ?? 0;
    const payloadBytes = layout.payloadBytes[k] ?? 0;
    const payloadAt = at + HEAD_BYTES;
    const tailAt = payloadAt + payloadBytes;
    if (touches(at, HEAD_BYTES)) yield cut(encodeHead(number, payloadBytes), at);
    if (touches(payloadAt, payloadBytes)) {
      let done = 0;
      for await (const piece of pieces(readPayload(number))) {
        if (done + piece.length > payloadBytes) throw wrongLength(number, payloadBytes);
        const wanted = cut(piece, payloadAt + done);
        done += piece.length;
        if (wanted.length > 0) yield wanted;
        if (payloadAt + done >= end) break;
      }
      if (done < payloadBytes && payloadAt + done < end) throw wrongLength(number, payloadBytes);
    }
    const tail = encodeTail(payloadBytes);
    if (touches(tailAt, tail.length)) yield cut(tail, tailAt);
  }

  const middle = middlePage(layout);
  if (touches(layout.middleOffset, middle.length)) yield cut(middle, layout.middleOffset);

  const entries = layout.indexBytes / INDEX_ENTRY_BYTES;
  const firstEntry = Math.max(0, Math.floor((start - layout.indexOffset) / INDEX_ENTRY_BYTES));
  for (let k = firstEntry; k < entries; k += ENTRIES_PER_PIECE) {
    const at = layout.indexOffset + k * INDEX_ENTRY_BYTES;
    if (at >= end) break;
    yield cut(indexEntries(layout, k, Math.min(entries, k + ENTRIES_PER_PIECE)), at);
  }

  if (touches(layout.bitmapOffset, layout.bitmapBytes)) yield cut(bitmap(layout), layout.bitmapOffset);
  const footer = footerPage(layout);
  if (touches(layout.footerOffset, footer.length)) yield cut(footer, layout.footerOffset);
}

const wrongLength = (number: number, payloadBytes: number): Error =>
  new Error(`payload of segment ${number} does not have the ${payloadBytes} bytes that the layout was made for`);

function cutTo(bytes: Uint8Array, at: number, start: number, end: number): Uint8Array {
  return bytes.subarray(Math.max(0, start - at), Math.max(0, Math.min(bytes.length, end - at)));
}

async function* pieces(payload: AsyncIterable<Uint8Array> | Promise<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (Symbol.asyncIterator in payload) yield* payload;
  else yield await payload;
}

/** Binary search: the first stored block whose bytes end after `position`. */
function firstBlockEndingAfter(layout: Zvhd2Layout, position: number): number {
  let low = 0;
  let high = layout.blockCount;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((layout.blockOffsets[middle + 1] ?? 0) > position) high = middle;
    else low = middle + 1;
  }
  return low;
}
