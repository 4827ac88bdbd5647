import type { GlanceImage } from '@ims/contract';
import type { SeenImage } from '@ims/db';
import { coreOf } from './image.wire';

/** Only in the extension dialect: a boolean would break the string-typed schemas of OpenStack clients (ims-api 2.2). */
const EXTENSION_ONLY = ['__system_support_market', '__image_displayname', 'os_shutdown_timeout'] as const;

/** An image in the OpenStack dialect: columns GS and GI of ims-api 2.2. Digests are there only when they are true (ims-api 12.8). */
export function toGlanceImage(row: SeenImage): GlanceImage {
  const image: Record<string, unknown> = { ...coreOf(row), os_hidden: row.hidden };
  for (const name of EXTENSION_ONLY) delete image[name];
  if (row.file_bytes !== null) image.size = row.file_bytes;
  if (row.sha512 !== null) Object.assign(image, { os_hash_algo: 'sha512', os_hash_value: row.sha512 });
  // As in image.wire.ts: parsed by the unit spec.
  return image as GlanceImage;
}
