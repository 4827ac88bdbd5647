import type { DiskReader } from '@ims/image-format';
import type { DiskFile } from '@ims/image-store';

/** A stored disk behind the reader interface, for looking into it. */
export function diskReaderOf(file: DiskFile, signal: AbortSignal): DiskReader {
  return {
    virtualSizeBytes: file.sizeBytes,
    async *extents() {
      yield* file.dataRanges();
    },
    async read(offset, target) {
      const length = Math.max(0, Math.min(target.length, file.sizeBytes - offset));
      target.fill(0, length);
      if (length === 0) return;
      let at = 0;
      for await (const chunk of file.read({ offset, length }, signal)) {
        target.set(chunk, at);
        at += chunk.length;
      }
    },
    close: () => Promise.resolve(),
  };
}
