import { z } from 'zod';
import { refusal } from './refusal';

// Of a key and of an enterprise project; more than any id has.
const MAX_ID = 256;

/** Body of POST /v1/cloudimages/{image_id}/copy and its safe-mode twin (ims-api 7.1). Unknown fields are dropped. */
export const copyImageRequest = z.object(
  {
    name: z.string({ error: refusal('IMG.0013', 'name must be a string') }).optional(),
    description: z.string({ error: refusal('IMG.0001', 'description must be a string') }).optional(),
    cmk_id: z
      .string({ error: refusal('IMG.0095', 'cmk_id must be a string') })
      .max(MAX_ID, { error: refusal('IMG.0095', 'cmk_id is too long') })
      .nullish(),
    enterprise_project_id: z
      .string({ error: refusal('IMG.0155', 'enterprise_project_id must be a string') })
      .max(MAX_ID, { error: refusal('IMG.0155', 'enterprise_project_id is too long') })
      .optional(),
  },
  { error: refusal('IMG.0001', 'the body must be a JSON object') },
);
export type CopyImageRequest = z.infer<typeof copyImageRequest>;
