import { z } from 'zod';
import { refusal } from './refusal';

const TAGS = ['bms', 'uefi', 'arm', 'x86', 'kvm'] as const;
const tag = z
  .string()
  .transform((text) => text.trim())
  .pipe(z.enum(TAGS, { error: refusal('IMG.0001', `tag must be one of ${TAGS.join(', ')}`) }));
// More than there are tags is somebody trying how many we take.
const MAX_TAGS = 10;

/** Query of GET /v1/cloudimages/os_version: several tags have to hold together (ims-api 4.4). */
export const listOsVersionsQuery = z
  .object({
    tag: z.union([
      tag.transform((only) => [only]),
      z.array(tag).max(MAX_TAGS, { error: refusal('IMG.0001', 'too many tags') }),
    ]),
  })
  .partial();
export type ListOsVersionsQuery = z.infer<typeof listOsVersionsQuery>;

/** A bare array (ims-api 4.4, 19.1 row 5); `os_bit` is a number here. */
export const osVersionList = z.array(
  z.object({
    platform: z.string(),
    version_list: z.array(
      z.object({
        platform: z.string(),
        os_version_key: z.string(),
        os_version: z.string(),
        os_bit: z.int(),
        os_type: z.string(),
      }),
    ),
  }),
);
export type OsVersionList = z.infer<typeof osVersionList>;
