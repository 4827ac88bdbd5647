import { BLOCK_BYTES, refuse } from './stream-page';

const MAGIC = 0xfd2fb528;
/** Largest window a reader has to hold (image-formats 4). */
const WINDOW_LIMIT = 8 * 1024 * 1024;
/** No block of a frame may decode to more (RFC 8878, 3.1.1.2.4). */
const ZSTD_BLOCK_LIMIT = 128 * 1024;
const BLOCK_RAW = 0;
const BLOCK_RLE = 1;
const BLOCK_COMPRESSED = 2;

/** One frame inside a payload: positions in bytes, `contentBytes` as the frame's own header says. */
export interface ZstdFrame {
  offset: number;
  length: number;
  contentBytes: number | undefined;
}

/**
 * Splits a payload into its zstd frames without decoding (RFC 8878, 3.1.1). Throws IMG.0057 for anything but whole frames, a window
 * above 8 MiB, a dictionary, or headers that promise more than 2 MiB together: so the decoder never sees a bomb.
 */
export function zstdFrames(payload: Buffer, where: string): ZstdFrame[] {
  const frames: ZstdFrame[] = [];
  let promised = 0;
  let offset = 0;
  while (offset < payload.length) {
    const frame = zstdFrame(payload, offset, where);
    promised += frame.contentBytes ?? 0;
    if (promised > BLOCK_BYTES) throw refuse(`${where} says that it unpacks to more than 2 MiB`);
    frames.push(frame);
    offset += frame.length;
  }
  return frames;
}

function zstdFrame(payload: Buffer, offset: number, where: string): ZstdFrame {
  const broken = (what: string): Error => refuse(`${where}: zstd frame ${what}`);
  let position = offset;
  const take = (bytes: number): number => {
    if (position + bytes > payload.length) throw broken('is cut short');
    let value = 0;
    // Up to 8 bytes; a content size above 2^53 loses digits, but is refused for its size anyway.
    for (let k = bytes - 1; k >= 0; k--) value = value * 256 + (payload[position + k] ?? 0);
    position += bytes;
    return value;
  };
  if (take(4) !== MAGIC) throw broken('has no magic number');
  const descriptor = take(1);
  if ((descriptor & 0x08) !== 0) throw broken('uses a reserved bit');
  if ((descriptor & 0x03) !== 0) throw broken('needs a dictionary');
  const singleSegment = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >>> 6;
  let window: number | undefined;
  if (!singleSegment) {
    const byte = take(1);
    const base = 2 ** (10 + (byte >>> 3));
    window = base + (base / 8) * (byte & 7);
  }
  let contentBytes: number | undefined;
  if (sizeFlag === 0) contentBytes = singleSegment ? take(1) : undefined;
  else if (sizeFlag === 1) contentBytes = take(2) + 256;
  else contentBytes = take(sizeFlag === 2 ? 4 : 8);
  if ((window ?? contentBytes ?? 0) > WINDOW_LIMIT) throw broken('needs a window above 8 MiB');
  for (let last = false; !last;) {
    const header = take(3);
    last = (header & 1) === 1;
    const type = (header >>> 1) & 3;
    const size = header >>> 3;
    if (size > ZSTD_BLOCK_LIMIT) throw broken('has a block above 128 KiB');
    if (type === BLOCK_RLE) position += 1;
    else if (type === BLOCK_RAW || type === BLOCK_COMPRESSED) position += size;
    else throw broken('has a block of reserved type');
    if (position > payload.length) throw broken('is cut short');
  }
  if ((descriptor & 0x04) !== 0) take(4);
  return { offset, length: position - offset, contentBytes };
}
