import { z } from 'zod';
import { refusal } from './refusal';

const text = (field: string) => z.string({ error: refusal('IMG.0001', `${field} must be a string`) });

/** How far an upload of several requests is. */
export const uploadState = z.object({
  /** Bytes that are durable; the next request goes on from here. */
  offset: z.int(),
  /** Bytes that were announced; null while nobody has said. */
  length: z.int().nullable(),
  /** When it ends by itself if nothing is added. */
  expires_at: z.string(),
});
export type UploadState = z.infer<typeof uploadState>;

/** Body of POST /v2/images/{image_id}/upload/complete: what the sender knows of the file, to be compared with what has arrived (SEC-06). */
export const completeUploadRequest = z.object(
  {
    size: z.int({ error: refusal('IMG.0001', 'size must be an integer') }).optional(),
    sha256: text('sha256')
      .regex(/^[0-9a-f]{64}$/i, { error: refusal('IMG.0001', 'sha256 must be 64 hex digits') })
      .optional(),
  },
  { error: refusal('IMG.0001', 'the body must be a JSON object') },
);
export type CompleteUploadRequest = z.infer<typeof completeUploadRequest>;

/** Import methods of the OpenStack dialect (upstream image API 2.6). */
export const IMPORT_METHODS = ['glance-direct', 'web-download'] as const;

/** Body of POST /v2/images/{image_id}/import, as the OpenStack clients send it. */
export const importImageRequest = z.object(
  {
    method: z.object(
      {
        name: z.enum(IMPORT_METHODS, {
          error: refusal('IMG.0001', `method.name must be ${IMPORT_METHODS.join(' or ')}`),
        }),
        uri: text('method.uri').optional(),
      },
      { error: refusal('IMG.0001', 'method must be an object with a name') },
    ),
    stores: z.array(text('stores'), { error: refusal('IMG.0001', 'stores must be a list') }).optional(),
    all_stores: z.boolean({ error: refusal('IMG.0001', 'all_stores must be a boolean') }).optional(),
  },
  { error: refusal('IMG.0001', 'the body must be a JSON object') },
);
export type ImportImageRequest = z.infer<typeof importImageRequest>;

/** Answer of GET /v2/info/import. */
export const importInfo = z.object({
  'import-methods': z.object({ description: z.string(), type: z.literal('array'), value: z.array(z.string()) }),
});
export type ImportInfo = z.infer<typeof importInfo>;
