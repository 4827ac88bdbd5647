import { constants, inflateSync, zstdDecompressSync } from 'node:zlib';
import { BLOCK_BYTES, refuse } from './stream-page';
import { METHOD_ZLIB } from './zvhd2-layout';
import { zstdFrames } from './zstd-frames';

/**
 * Decodes the payload of one ZVHD2 block to exactly 2 MiB (image-formats 4). Never unpacks more than that, whatever the payload says.
 * Throws IMG.0057 for any other length and for damaged data. Synchronous: readers run in worker threads, one block takes a few ms.
 */
export function decodePayload(payload: Buffer, method: number, where: string): Buffer {
  const block = method === METHOD_ZLIB ? inflateBlock(payload, where) : decodeZstd(payload, where);
  if (block.length !== BLOCK_BYTES) throw refuse(`${where} unpacks to ${block.length} bytes instead of 2 MiB`);
  return block;
}

function decodeZstd(payload: Buffer, where: string): Buffer {
  zstdFrames(payload, where);
  return unpack(() => zstdDecompressSync(payload, { maxOutputLength: BLOCK_BYTES }), where);
}

function inflateBlock(payload: Buffer, where: string): Buffer {
  // The stream ends with a sync flush and has neither a last block nor an Adler checksum, so its end is the payload's end.
  return unpack(
    () => inflateSync(payload, { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: BLOCK_BYTES }),
    where,
  );
}

function unpack(decode: () => Buffer, where: string): Buffer {
  try {
    return decode();
  } catch (error) {
    const code = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
    if (code === 'ERR_BUFFER_TOO_LARGE') throw refuse(`${where} unpacks to more than 2 MiB`);
    // Every other failure of the decoders is a statement about the data, too: no memory is taken that the limits above do not bound.
    throw refuse(`${where} cannot be unpacked (${code || 'damaged'})`);
  }
}
