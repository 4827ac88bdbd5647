import { z } from 'zod';
import { isRecordable, refusal } from './refusal';

const bad = (detail: string) => ({ error: refusal('EVS.1009', detail) });
// As in the calls for servers (backends E5).
const MAX_TERM = 255;
const term = (field: string) =>
  z.string(bad(`${field} must be a string`)).max(MAX_TERM, { error: refusal('EVS.1009', `${field} is too long`) });

/** Body of POST …/cloudvolumes (backends E5): one source at most. */
export const createVolumeRequest = z
  .object({
    volume: z.object(
      {
        availability_zone: term('availability_zone').optional(),
        size: z.coerce
          .number({ error: refusal('EVS.1010', 'size must be a number') })
          .int({ error: refusal('EVS.1010', 'size must be whole') })
          .optional(),
        volume_type: term('volume_type').optional(),
        name: term('name').optional(),
        description: term('description').optional(),
        imageRef: term('imageRef').nullish(),
        snapshot_id: term('snapshot_id').nullish(),
        backup_id: term('backup_id').nullish(),
        count: z.coerce.number(bad('count must be a number')).int(bad('count must be whole')).optional(),
        multiattach: z.boolean(bad('multiattach must be a boolean')).optional(),
        metadata: z.record(term('metadata'), term('metadata'), bad('metadata must be an object of strings')).optional(),
      },
      bad('volume must be an object'),
    ),
  })
  .refine(isRecordable, { error: refusal('EVS.1009', 'the request is too long') });
export type CreateVolumeRequest = z.infer<typeof createVolumeRequest>;

export const volumesAccepted = z.object({ job_id: z.string(), volume_ids: z.array(z.string()).optional() });
export type VolumesAccepted = z.infer<typeof volumesAccepted>;

export const volumeDocument = z.object({
  id: z.string(),
  name: z.string(),
  status: z.string(),
  size: z.number(),
  description: z.string(),
  availability_zone: z.string(),
  volume_type: z.string(),
  bootable: z.string(),
  encrypted: z.boolean(),
  multiattach: z.boolean(),
  shareable: z.string(),
  snapshot_id: z.string().nullable(),
  attachments: z.array(
    z.object({
      id: z.string(),
      attachment_id: z.string(),
      server_id: z.string(),
      volume_id: z.string(),
      device: z.string(),
    }),
  ),
  metadata: z.record(z.string(), z.string()),
  volume_image_metadata: z.record(z.string(), z.string()),
  'os-vol-tenant-attr:tenant_id': z.string(),
  created_at: z.string(),
  updated_at: z.string(),
  service_type: z.literal('EVS'),
});
export type VolumeDocument = z.infer<typeof volumeDocument>;
export const showVolumeAnswer = z.object({ volume: volumeDocument });
export type ShowVolumeAnswer = z.infer<typeof showVolumeAnswer>;
