import { z } from 'zod';
import { INT32_MAX } from './image-create-request';
import { refusal } from './refusal';

const text = (field: string) => z.string({ error: refusal('IMG.0001', `${field} must be a string`) });
const size = (field: string) =>
  z
    .int({ error: refusal('IMG.0055', `${field} must be an integer`) })
    .min(0, { error: refusal('IMG.0055', `${field} must not be negative`) })
    .max(INT32_MAX, { error: refusal('IMG.0055', `${field} is too large`) });

/**
 * Body of POST /v2/images (ims-api 12.3): an image without bytes. Every key that is not listed is a property of the caller's own, with a string.
 * OpenStack clients send null for what they were not told.
 */
export const imageMetadataRequest = z
  .object(
    {
      id: text('id').nullish(),
      name: text('name').nullish(),
      __os_version: text('__os_version').nullish(),
      visibility: text('visibility').nullish(),
      container_format: text('container_format').nullish(),
      disk_format: text('disk_format').nullish(),
      min_disk: size('min_disk').nullish(),
      min_ram: size('min_ram').nullish(),
      protected: z.boolean({ error: refusal('IMG.0001', 'protected must be a boolean') }).nullish(),
      tags: z
        .array(z.string({ error: refusal('IMG.0115', 'tags must be strings') }), {
          error: refusal('IMG.0115', 'tags must be a list of strings'),
        })
        // As for other calls: the domain's own limit is what a caller sees.
        .max(1000, { error: refusal('IMG.0116', 'tags') })
        .nullish(),
    },
    { error: refusal('IMG.0001', 'the body must be a JSON object') },
  )
  .catchall(z.string({ error: refusal('IMG.0001', 'a property must be a string') }).nullable());
export type ImageMetadataRequest = z.infer<typeof imageMetadataRequest>;

/** Body of PUT /v1/cloudimages/{image_id}/upload (ims-api 6.6). */
export const registerImageRequest = z.object(
  { image_url: text('image_url').optional() },
  { error: refusal('IMG.0001', 'the body must be a JSON object') },
);
export type RegisterImageRequest = z.infer<typeof registerImageRequest>;
