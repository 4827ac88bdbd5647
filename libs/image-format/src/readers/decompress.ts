import { inflateRawSync, inflateSync, zstdDecompressSync } from 'node:zlib';
import { broken } from '../refusal';
import { zstdFrameLength } from './zstd-frame';

export type Codec = 'deflate' | 'zlib' | 'zstd';

/**
 * Decompresses one block to exactly `outputBytes` bytes (at least `leastBytes` where a disk's last block may be cut); what follows the block in `input` is ignored. Synchronous on purpose: readers run in threads of
 * their own, and a hand-over to the pool costs more than a block. Output is capped, so a bomb ends at the block size. Fails with `IMG.0057`.
 */
export function decompressBlock(codec: Codec, input: Buffer, outputBytes: number, leastBytes = outputBytes): Buffer {
  const output = unpack(codec, input, outputBytes);
  if (output.length < leastBytes) throw broken('a compressed block has the wrong length');
  return output;
}

function unpack(codec: Codec, input: Buffer, maxOutputLength: number): Buffer {
  const frame = codec === 'zstd' ? input.subarray(0, zstdFrameLength(input)) : input;
  try {
    switch (codec) {
      case 'deflate':
        return inflateRawSync(frame, { maxOutputLength });
      case 'zlib':
        return inflateSync(frame, { maxOutputLength });
      case 'zstd':
        return zstdDecompressSync(frame, { maxOutputLength });
    }
  } catch (error) {
    // Every failure here lies in the bytes: bad data, cut off, or more output than a block may have.
    throw broken(`a compressed block cannot be decompressed (${error instanceof Error ? error.message : 'unknown'})`);
  }
}
