import { NeighbourError } from './neighbour.errors';
import type { Flavor, ServerImage } from './servers.port';

// What a 32-bit operating system can address (CRE-28), MiB.
const MAX_32_BIT_RAM_MIB = 4096;

/**
 * Whether a server of this flavour may run this image.
 *
 * @throws NeighbourError WRONG_IMAGE_ROLE (IMG-10: a data disk image makes no server), WRONG_ARCHITECTURE (CRE-26, CRE-27),
 *   TOO_MUCH_MEMORY (CRE-28), WRONG_SIZE (the system disk is below the image's least size)
 */
export function checkImageFits(image: ServerImage, flavor: Flavor, rootSizeGib: number | undefined): void {
  const what = `image ${image.imageId} on flavour ${flavor.id}`;
  if (image.role !== 'system') throw new NeighbourError('WRONG_IMAGE_ROLE', what);
  if (image.architecture !== flavor.architecture) throw new NeighbourError('WRONG_ARCHITECTURE', what);
  if (image.osBit === '32' && flavor.ramMib > MAX_32_BIT_RAM_MIB) throw new NeighbourError('TOO_MUCH_MEMORY', what);
  if (rootSizeGib !== undefined && rootSizeGib < image.minDiskGib) {
    throw new NeighbourError(
      'WRONG_SIZE',
      `system disk of ${rootSizeGib} GiB for an image that needs ${image.minDiskGib}`,
    );
  }
}
