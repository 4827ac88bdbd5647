import { zvhd2Identity, zvhd2Layout, type Zvhd2Layout } from '@ims/image-format';

// ZVHD2 counts whole sectors; a disk that ends inside one is shown with the rest of it as zeros.
const SECTOR_BYTES = 512;

/** Layout of the ZVHD2 file that a manifest's plain download serves; the same for the same manifest for ever (design 4, "Downloads"). */
export function zvhd2LayoutOf(
  manifestHash: string,
  virtualSizeBytes: number,
  segments: Iterable<{ index: number; storedBytes: number }>,
): Zvhd2Layout {
  const wholeSectors = Math.ceil(virtualSizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
  return zvhd2Layout({ virtualSizeBytes: wholeSectors, segments, ...zvhd2Identity(manifestHash) });
}
