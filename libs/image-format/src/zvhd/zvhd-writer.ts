import { constants, createDeflate } from 'node:zlib';
import type { DiskReader } from '../disk-reader';
import { encodeHead, encodeTail } from './data-block';
import { PulledStream } from './pulled-stream';
import { storedBlocks } from './stored-blocks';
import { currentSizeBytes, encodeStreamPage, sealPage } from './stream-page';
import type { Zvhd2Identity } from './zvhd2-layout';

/**
 * Writes a disk as ZVHD (image-formats 3): every block that is not all zeros through one zlib stream, sync-flushed after each and never
 * finished. The same disk and identity give the same bytes. Chunks come in file order.
 *
 * @example await pipeline(writeZvhd(disk, zvhd2Identity(hash)), createWriteStream('disk.zvhd'));
 */
export async function* writeZvhd(
  disk: DiskReader,
  identity: Zvhd2Identity,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const page = sealPage(
    encodeStreamPage({
      kind: 'zvhd',
      originalSizeBytes: disk.virtualSizeBytes,
      currentSizeBytes: currentSizeBytes(disk.virtualSizeBytes),
      seconds: identity.headerTime,
      uuid: identity.uuid,
    }),
  );
  yield page;
  // The vendor's streams begin with 78 01, the mark of this level.
  const deflate = createDeflate({ level: constants.Z_BEST_SPEED });
  const pulled = new PulledStream(deflate);
  try {
    for await (const { number, bytes } of storedBlocks(disk, signal)) {
      const pieces: Buffer[] = [];
      // The block's buffer is filled anew only after all of its output is here.
      const feed = (done: () => void): void => {
        deflate.write(bytes);
        deflate.flush(constants.Z_SYNC_FLUSH, done);
      };
      for await (const piece of pulled.output(feed)) pieces.push(piece);
      const payload = Buffer.concat(pieces);
      yield encodeHead(number, payload.length);
      yield payload;
      yield encodeTail(payload.length);
    }
  } finally {
    pulled.close();
  }
  yield page;
}
