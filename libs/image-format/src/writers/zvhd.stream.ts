import { promisify } from 'node:util';
import { constants, deflateRaw, type InputType, type ZlibOptions } from 'node:zlib';
import { blockLength, encodeHead, encodeTail } from '../zvhd/data-block';
import { currentSizeBytes, encodeStreamPage, PAGE_BYTES, sealPage } from '../zvhd/stream-page';
import type { Zvhd2Identity } from '../zvhd/zvhd2-layout';
import { dataSegments, type DiskBytes, isZero, readSegments, wholeSectorBytes, SEGMENT_BYTES } from './disk-bytes';
import { inOrder, longestCompressed, type StreamedFile } from './streamed-file';

const deflate: (bytes: InputType, options: ZlibOptions) => Promise<Buffer> = promisify(deflateRaw);

/** Head of a zlib stream of the fastest level, which the vendor's streams begin with. */
const ZLIB_HEAD = Buffer.from([0x78, constants.Z_BEST_SPEED]);
// The pool has four threads; one more block is read meanwhile.
const AT_ONCE = 4;

/**
 * A disk as ZVHD (image-formats 3). The file's one zlib stream is made of blocks that do not refer to each other, which any reader of the stream
 * takes: so they are compressed at once, on the pool of threads, and whoever goes on with a file begins at any of them. A block refers to 32 KiB
 * before it at most, so 2 MiB lose next to nothing by it.
 *
 * @example for await (const { bytes } of streamZvhd(disk, zvhd2Identity(hash)).read(STREAM_START)) socket.write(bytes);
 */
export function streamZvhd(disk: DiskBytes, identity: Zvhd2Identity): StreamedFile {
  const sizeBytes = wholeSectorBytes(disk);
  const segments = dataSegments(disk);
  const page = sealPage(
    encodeStreamPage({
      kind: 'zvhd',
      originalSizeBytes: sizeBytes,
      currentSizeBytes: currentSizeBytes(sizeBytes),
      seconds: identity.headerTime,
      uuid: identity.uuid,
    }),
  );
  return {
    maxBytes: 2 * PAGE_BYTES + segments.length * blockLength(longestCompressed(SEGMENT_BYTES)),
    async *read({ piece, start }, signal) {
      if (piece === 0) yield { bytes: page, endsPiece: true };
      let position = piece === 0 ? page.length : start;
      const left = segments.subarray(Math.max(0, piece - 1));
      const blocks = inOrder(readSegments(disk, left, signal), AT_ONCE, async ({ index, bytes }) => ({
        index,
        payload: isZero(bytes) ? undefined : await compress(bytes),
      }));
      for await (const { index, payload } of blocks) {
        signal?.throwIfAborted();
        if (payload === undefined) {
          yield { bytes: Buffer.alloc(0), endsPiece: true };
          continue;
        }
        // The first block that is written, wherever on the disk it lies.
        const head = position === PAGE_BYTES ? ZLIB_HEAD : Buffer.alloc(0);
        const length = head.length + payload.length;
        const bytes = Buffer.concat([encodeHead(index, length), head, payload, encodeTail(length)]);
        position += bytes.length;
        yield { bytes, endsPiece: true };
      }
      if (piece <= segments.length + 1) yield { bytes: page, endsPiece: true };
    },
  };
}

const compress = (bytes: Buffer): Promise<Buffer> =>
  deflate(bytes, { level: constants.Z_BEST_SPEED, finishFlush: constants.Z_SYNC_FLUSH });
