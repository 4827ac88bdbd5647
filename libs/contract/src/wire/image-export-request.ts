import { z } from 'zod';
import { EXPORT_FORMATS } from '../image-export';
import { refusal } from './refusal';

/** `zvhd2` is the result of quick export alone (ims-api 6.7). */
const NAMED_FORMATS = EXPORT_FORMATS.filter((format) => format !== 'zvhd2');

/** Body of POST /v1/cloudimages/{image_id}/file (ims-api 6.7). */
export const exportImageRequest = z
  .object(
    {
      bucket_url: z.string({ error: refusal('IMG.0017', 'bucket_url must be bucket:object') }),
      file_format: z
        .enum(NAMED_FORMATS, { error: refusal('IMG.0072', `file_format must be ${NAMED_FORMATS.join(', ')}`) })
        .nullish(),
      is_quick_export: z.boolean({ error: refusal('IMG.0001', 'is_quick_export must be a boolean') }).nullish(),
    },
    { error: refusal('IMG.0001', 'the body must be a JSON object') },
  )
  .refine(({ file_format: format, is_quick_export: quick }) => quick === true || format != null, {
    error: refusal('IMG.0072', 'file_format is missing'),
  })
  .refine(({ file_format: format, is_quick_export: quick }) => quick !== true || format == null, {
    error: refusal('IMG.0001', 'a quick export is ZVHD2: leave file_format out'),
  });
export type ExportImageRequest = z.infer<typeof exportImageRequest>;
