import { constants, zstdCompressSync } from 'node:zlib';
import type { DiskReader } from '../disk-reader';
import { assembleZvhd2 } from './zvhd2-assembler';
import { storedBlocks } from './stored-blocks';
import { BLOCK_BYTES } from './stream-page';
import { zvhd2Layout, type Zvhd2Identity } from './zvhd2-layout';
import { encodeHead, encodeTail } from './data-block';

/** The vendor's writer uses this level (image-formats 4). */
const ZSTD_LEVEL = 3;

/**
 * Writes a disk as ZVHD2 (image-formats 4): one pass, one zstd frame per block that is not all zeros. The same disk and identity give the
 * same bytes. `disk` is only read. Chunks come in file order.
 *
 * @example await pipeline(writeZvhd2(disk, zvhd2Identity(hash)), createWriteStream('disk.zvhd2'));
 */
export async function* writeZvhd2(
  disk: DiskReader,
  identity: Zvhd2Identity,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const segments: { index: number; storedBytes: number }[] = [];
  const describe = { virtualSizeBytes: disk.virtualSizeBytes, ...identity };
  const empty = zvhd2Layout({ ...describe, segments: [] });
  const noPayload = (index: number): Promise<Uint8Array> =>
    Promise.reject(new Error(`block ${index} was written already`));
  // The header does not depend on the blocks; everything behind them does, so it is laid out once they are known.
  yield* assembleZvhd2(empty, noPayload, { offset: 0, length: empty.middleOffset });
  for await (const { number, bytes } of storedBlocks(disk, signal)) {
    const payload = zstdCompressSync(bytes, {
      params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL },
      pledgedSrcSize: BLOCK_BYTES,
    });
    segments.push({ index: number, storedBytes: payload.length });
    yield encodeHead(number, payload.length);
    yield payload;
    yield encodeTail(payload.length);
  }
  const layout = zvhd2Layout({ ...describe, segments });
  yield* assembleZvhd2(layout, noPayload, {
    offset: layout.middleOffset,
    length: layout.sizeBytes - layout.middleOffset,
  });
}
