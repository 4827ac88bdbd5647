import { misfitOf } from '@ims/domain';
import { NeighbourError } from './neighbour.errors';
import type { Flavor, ServerImage } from './servers.port';

/**
 * Whether a server of this flavour may run this image, by the rule that the calls obey too.
 *
 * @throws NeighbourError WRONG_IMAGE_ROLE (IMG-10: a data disk image makes no server), WRONG_ARCHITECTURE (CRE-26, CRE-27),
 *   TOO_MUCH_MEMORY (CRE-28), WRONG_SIZE (the system disk is below the image's least size)
 */
export function checkImageFits(image: ServerImage, flavor: Flavor, rootSizeGib: number | undefined): void {
  const misfit = misfitOf(image, flavor, rootSizeGib);
  if (misfit === undefined) return;
  const what =
    misfit === 'WRONG_SIZE'
      ? `system disk of ${rootSizeGib} GiB for an image that needs ${image.minDiskGib}`
      : `image ${image.imageId} on flavour ${flavor.id}`;
  throw new NeighbourError(misfit, what);
}
