import type { BucketFile } from '@ims/contract';
import { SourceChangedError } from './bucket.errors';
import type { BucketStore } from './bucket.port';
import { openSource } from './open-source';

/** Whether a small object is there and holds exactly these bytes. */
export async function holdsBytes(
  buckets: Pick<BucketStore, 'pin' | 'describe'>,
  file: BucketFile,
  bytes: Uint8Array,
): Promise<boolean> {
  const pinned = await buckets.pin(file);
  if (pinned?.sizeBytes !== bytes.length) return false;
  try {
    const source = await openSource(buckets.describe(pinned));
    try {
      const found = Buffer.alloc(bytes.length);
      await source.read(0, found);
      return found.equals(bytes);
    } finally {
      await source.close();
    }
  } catch (error) {
    // Whatever it was, it is something else by now.
    if (error instanceof SourceChangedError) return false;
    throw error;
  }
}
