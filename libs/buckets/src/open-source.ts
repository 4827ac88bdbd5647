import type { ByteSource, SourceDescriptor } from './bucket.port';
import { DirectorySource } from './directory-source';

/**
 * Opens a reader of a pinned file from plain data; works in any thread. The caller closes it.
 * Fails with `SourceChangedError` when the file is gone or no longer the pinned one.
 *
 * @example const source = await openSource(buckets.describe(pinned));
 */
export async function openSource(descriptor: SourceDescriptor): Promise<ByteSource> {
  switch (descriptor.driver) {
    case 'directory':
      return DirectorySource.open(descriptor.root, descriptor.file);
    case 's3': {
      const { S3Source } = await import('./s3-source');
      return S3Source.open(descriptor);
    }
    default:
      return descriptor satisfies never;
  }
}
