import { broken } from '../refusal';

const MAGIC = 0xfd2fb528;
// Window limit of the zstd reader everybody ships by default (ZSTD_WINDOWLOG_LIMIT_DEFAULT is 27; qcow2 and ZVHD2 writers stay far below): 8 MiB as in image-formats 4.
const MAX_WINDOW_BYTES = 8 * 1024 * 1024;

/**
 * Length in bytes of the zstd frame at the start of `bytes` (RFC 8878 3.1), which may be followed by anything: qcow2 only stores how many sectors a
 * compressed cluster touches. Fails with `IMG.0057` when the frame is malformed, cut off, needs a dictionary or a window above 8 MiB.
 */
export function zstdFrameLength(bytes: Buffer): number {
  try {
    return walk(bytes);
  } catch (error) {
    if (error instanceof RangeError) throw broken('a compressed block is cut off');
    throw error;
  }
}

function walk(bytes: Buffer): number {
  if (bytes.readUInt32LE(0) !== MAGIC) throw broken('a compressed block does not start a zstd frame');
  const descriptor = bytes.readUInt8(4);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  if ((descriptor & 3) !== 0) throw broken('a compressed block needs a dictionary');
  let at = 5;
  if (!isSingleSegment) {
    const window = bytes.readUInt8(at++);
    const base = 2 ** (10 + (window >> 3));
    if (base + (base / 8) * (window & 7) > MAX_WINDOW_BYTES)
      throw broken('a compressed block needs too large a window');
  }
  const sizeFlag = descriptor >> 6;
  at += sizeFlag === 0 ? (isSingleSegment ? 1 : 0) : 2 ** sizeFlag;
  for (;;) {
    const header = bytes.readUIntLE(at, 3);
    const type = (header >> 1) & 3;
    if (type === 3) throw broken('a compressed block has an unknown zstd block');
    // A run-length block stores one byte whatever its size says.
    at += 3 + (type === 1 ? 1 : header >> 3);
    if (header & 1) break;
  }
  at += (descriptor & 4) !== 0 ? 4 : 0;
  if (at > bytes.length) throw broken('a compressed block is cut off');
  return at;
}
