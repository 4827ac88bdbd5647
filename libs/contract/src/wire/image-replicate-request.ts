import { z } from 'zod';
import { isRecordable, refusal } from './refusal';

// Longer names of regions, projects, agencies and vaults do not exist (iam 2.1).
const MAX_NAME = 64;
const name = (field: string, code: 'IMG.0147' | 'IMG.0145' | 'IMG.0179' | 'IMG.0189' | 'IMG.0155') =>
  z
    .string({ error: refusal(code, `${field} must be a string`) })
    .max(MAX_NAME, { error: refusal(code, `${field} is too long`) });

/** Body of POST /v1/cloudimages/{image_id}/cross_region_copy (ims-api 7.2). Unknown fields are dropped. */
export const replicateImageRequest = z
  .object(
    {
      name: z.string({ error: refusal('IMG.0013', 'name must be a string') }),
      region: name('region', 'IMG.0147'),
      /** The one of that name in the target region; SDKs always send it, by default the name of the region. */
      project_name: name('project_name', 'IMG.0145').optional(),
      agency_name: name('agency_name', 'IMG.0179'),
      description: z.string({ error: refusal('IMG.0001', 'description must be a string') }).optional(),
      /** Vault of the target region, for images of whole servers. */
      vault_id: name('vault_id', 'IMG.0189').optional(),
      enterprise_project_id: name('enterprise_project_id', 'IMG.0155').optional(),
    },
    { error: refusal('IMG.0001', 'the body must be a JSON object') },
  )
  .refine(isRecordable, { error: refusal('IMG.0001', 'the request is too long') });
export type ReplicateImageRequest = z.infer<typeof replicateImageRequest>;
