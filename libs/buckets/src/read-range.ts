import type { PinnedFile } from '@ims/contract';

/** Fails with `RangeError` unless `[position, position + length)` lies inside the file. */
export function checkReadRange(file: PinnedFile, position: number, length: number): void {
  if (!Number.isSafeInteger(position) || position < 0 || position + length > file.sizeBytes) {
    throw new RangeError(
      `read ${length} bytes at ${position} of ${file.bucket}:${file.key}: outside its ${file.sizeBytes} bytes`,
    );
  }
}
