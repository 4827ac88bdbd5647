import { imageAttributes, type ImageLineage } from '@ims/contract';
import type { ImageRow, ImagesRepository } from '@ims/db';
import { lineageFrom } from '@ims/domain';

/** What an image that is made from this one inherits. */
export function lineageFromRow(row: ImageRow): ImageLineage {
  const attributes = imageAttributes.parse(row.attributes);
  const text = (name: string): string | undefined => {
    const value = attributes[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  return lineageFrom({
    id: row.id,
    imageType: row.image_type,
    platform: text('__platform'),
    productCode: text('__productcode'),
    inherited: { publicPlatform: row.public_platform, productCode: row.product_code },
  });
}

/** The same of what came from an image, or from none (`null`), or from one that was never here. */
export async function lineageOf(images: ImagesRepository, imageId: string | null): Promise<ImageLineage | undefined> {
  const parent = imageId === null ? undefined : await images.ancestor(imageId);
  return parent === undefined ? undefined : lineageFromRow(parent);
}
