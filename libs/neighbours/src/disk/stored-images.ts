import { dedupDomainId } from '@ims/contract';
import type { ImageStore } from '@ims/image-store';
import type { ImageDiskSource } from '../disk-image.port';

/**
 * The disks of stored images, for volumes made from them: only the frames of a range are fetched.
 *
 * @example const cloud = await openEmbeddedCloud({ db, directory, images: storedImages(store), qemu: false });
 */
export function storedImages(store: Pick<ImageStore, 'open'>): ImageDiskSource {
  return {
    open: async ({ domainId, manifestHash }) => {
      const file = await store.open({ domainId: dedupDomainId(domainId), manifestHash }, 'raw');
      return {
        virtualSizeBytes: file.sizeBytes,
        read: (range, signal) => file.read(range, signal),
        dataRanges: (range) => file.dataRanges(range),
      };
    },
  };
}
