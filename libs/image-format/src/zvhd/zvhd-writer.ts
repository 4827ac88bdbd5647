import type { DiskReader } from '../disk-reader';
import { diskBytesOf, STREAM_START, streamZvhd } from '../writers';
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
  const file = streamZvhd(await diskBytesOf(disk, signal), identity);
  for await (const { bytes } of file.read(STREAM_START, signal)) yield bytes;
}
