import { z } from 'zod';
import { refusal } from './refusal';

// Largest value of a signed 32-bit integer: typed clients hold every integer of the API in one (ims-api 4.2).
export const INT32_MAX = 2_147_483_647;

const text = (field: string) => z.string({ error: refusal('IMG.0001', `${field} must be a string`) });

// Longest listed value of any of these fields has some 70 characters; the whole request becomes part of one event of at most 64 KiB.
const MAX_TERM = 256;
const term = (field: string) => text(field).max(MAX_TERM, { error: refusal('IMG.0001', `${field} is too long`) });
const flag = (field: string) => z.boolean({ error: refusal('IMG.0001', `${field} must be a boolean`) });

/** MB of memory (ims-api 6.1); how much is allowed is a rule of the domain. */
const memory = (field: string) =>
  z
    .int({ error: refusal('IMG.0055', `${field} must be an integer`) })
    .min(0, { error: refusal('IMG.0055', `${field} must not be negative`) })
    .max(INT32_MAX, { error: refusal('IMG.0055', `${field} is too large`) });

/** GiB of disk (ims-api 6.1); the range is a rule of the domain. */
const disk = (field: string) =>
  z
    .int({ error: refusal('IMG.0055', `${field} must be an integer`) })
    .min(-INT32_MAX, { error: refusal('IMG.0055', `${field} is too small`) })
    .max(INT32_MAX, { error: refusal('IMG.0055', `${field} is too large`) });

export const imageTag = z.object(
  {
    key: z.string({ error: refusal('IMG.0115', 'the key of a tag must be a string') }),
    value: z.string({ error: refusal('IMG.0115', 'the value of a tag must be a string') }).default(''),
  },
  { error: refusal('IMG.0115', 'a tag is an object of key and value') },
);
export type ImageTag = z.infer<typeof imageTag>;

// More than any limit on tags (10 or 20, ims-api 20 row 7), so that the domain's own refusal is what a caller sees; still bounded.
const MAX_TAGS_READ = 1000;

const tags = z
  .array(z.string({ error: refusal('IMG.0115', 'tags must be strings') }), {
    error: refusal('IMG.0115', 'tags must be a list of strings'),
  })
  .max(MAX_TAGS_READ, { error: refusal('IMG.0116', 'tags') });
const imageTags = z
  .array(imageTag, { error: refusal('IMG.0115', 'image_tags must be a list of objects') })
  .max(MAX_TAGS_READ, { error: refusal('IMG.0116', 'image_tags') });

const dataImage = z.object({
  name: text('data_images.name').optional(),
  description: text('data_images.description').optional(),
  volume_id: text('data_images.volume_id').optional(),
  image_url: text('data_images.image_url').optional(),
  min_disk: disk('data_images.min_disk').optional(),
  is_quick_import: flag('data_images.is_quick_import').optional(),
  tags: tags.optional(),
  image_tags: imageTags.optional(),
});

/**
 * Body of POST /v2/cloudimages/action and its safe-mode twin (ims-api 6.1, 6.2). The scenario follows from the source field that is present.
 * Unknown fields are dropped (ims-api 1.1). Only types are checked here; rules about values are the domain's, each in one place.
 */
export const createImageRequest = z.object(
  {
    name: z.string({ error: refusal('IMG.0013', 'name must be a string') }).optional(),
    description: text('description').optional(),
    instance_id: term('instance_id').optional(),
    volume_id: term('volume_id').optional(),
    image_url: text('image_url').optional(),
    data_images: z
      .array(dataImage, { error: refusal('IMG.0001', 'data_images must be a list of objects') })
      // One server has at most 24 disks; longer lists are no request anyone means.
      .max(64, { error: refusal('IMG.0001', 'data_images is too long') })
      .optional(),
    type: term('type').optional(),
    os_type: term('os_type').optional(),
    os_version: term('os_version').optional(),
    min_disk: disk('min_disk').optional(),
    min_ram: memory('min_ram').optional(),
    max_ram: memory('max_ram').optional(),
    is_config: flag('is_config').optional(),
    is_quick_import: flag('is_quick_import').optional(),
    cmk_id: term('cmk_id').optional(),
    architecture: term('architecture').optional(),
    hw_firmware_type: term('hw_firmware_type').optional(),
    /** Not in the vendor's API: asks whether the disk boots; a text is what its serial console must print. */
    boot_check: z.union([z.boolean(), term('boot_check')]).optional(),
    tags: tags.optional(),
    image_tags: imageTags.optional(),
    enterprise_project_id: term('enterprise_project_id').optional(),
  },
  { error: refusal('IMG.0001', 'the body must be a JSON object') },
);
export type CreateImageRequest = z.infer<typeof createImageRequest>;

const { name, description, image_url, min_disk, os_type, enterprise_project_id, image_tags } = createImageRequest.shape;
const described = {
  name,
  description,
  image_url,
  min_disk,
  os_type,
  enterprise_project_id,
  tags: tags.optional(),
  image_tags,
};

/** Body of POST /v1/cloudimages/dataimages/action and its safe-mode twin (ims-api 6.4). */
export const createDataImageRequest = z.object(
  { ...described, cmk_id: term('cmk_id').optional() },
  { error: refusal('IMG.0001', 'the body must be a JSON object') },
);
export type CreateDataImageRequest = z.infer<typeof createDataImageRequest>;

/** Body of POST /v2/cloudimages/quickimport/action and its safe-mode twin (ims-api 6.3): a system image, or with type DataImage a data image. */
export const quickImportRequest = z.object(
  {
    ...described,
    type: term('type').optional(),
    os_version: term('os_version').optional(),
    license_type: term('license_type').optional(),
    architecture: term('architecture').optional(),
    hw_firmware_type: term('hw_firmware_type').optional(),
  },
  { error: refusal('IMG.0001', 'the body must be a JSON object') },
);
export type QuickImportRequest = z.infer<typeof quickImportRequest>;

const { min_ram, max_ram } = createImageRequest.shape;

/** Body of POST /v1/cloudimages/wholeimages/action (ims-api 6.5): from a server into a vault, or from a backup. */
export const createWholeImageRequest = z.object(
  {
    name,
    description,
    instance_id: term('instance_id').optional(),
    vault_id: term('vault_id').optional(),
    backup_id: term('backup_id').optional(),
    whole_image_type: term('whole_image_type').optional(),
    min_ram,
    max_ram,
    tags: tags.optional(),
    image_tags,
    enterprise_project_id,
  },
  { error: refusal('IMG.0001', 'the body must be a JSON object') },
);
export type CreateWholeImageRequest = z.infer<typeof createWholeImageRequest>;

/** Answer of every asynchronous call (ims-api 6). */
export const jobAccepted = z.object({ job_id: z.string() });
export type JobAccepted = z.infer<typeof jobAccepted>;

/** Optional body of DELETE /v2/images/{id} (ims-api 12.6). */
export const deleteImageRequest = z.object({
  delete_backup: flag('delete_backup').optional(),
});
export type DeleteImageRequest = z.infer<typeof deleteImageRequest>;
