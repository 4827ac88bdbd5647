import { openSource } from '@ims/buckets';
import type { DiskDescriptor, DiskReader } from './disk-reader';
import { NbdReader } from './nbd/nbd.reader';
import { Qcow2Reader } from './readers/qcow2.reader';
import { RawReader } from './readers/raw.reader';
import { openZvhd, openZvhd2 } from './zvhd';

/**
 * Opens a reader of its own from plain data; works in any thread. The caller closes it, which also closes its source.
 * Fails with `IMG.0057` when the content is not what inspection saw, with `SourceChangedError` when the file is no longer the pinned one.
 *
 * @example const reader = await openDisk(workerData.disk);
 */
export async function openDisk(descriptor: DiskDescriptor): Promise<DiskReader> {
  if (descriptor.reader === 'nbd') return NbdReader.connect(descriptor.socketPath);
  const source = await openSource(descriptor.source);
  try {
    switch (descriptor.reader) {
      case 'raw':
        return new RawReader(source, descriptor.virtualSizeBytes);
      case 'qcow2':
        return await Qcow2Reader.open(source);
      case 'zvhd':
        return await openZvhd(source);
      case 'zvhd2':
        return await openZvhd2(source);
      default:
        return descriptor satisfies never;
    }
  } catch (error) {
    await source.close();
    throw error;
  }
}
