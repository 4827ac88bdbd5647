import { z } from 'zod';

/**
 * What an image inherits from the image that it was made from, through copies, replicas, servers and backups, at any depth: what may be done with
 * it and what it costs follows from there (EXP-09, EXP-10, BIL-08).
 */
export const imageLineage = z.object({
  /** The image that this one was made from; `null` where that one is in another region or came from no image. */
  parentImageId: z.string().nullable(),
  /** `__platform` of the public image that the line begins with. */
  publicPlatform: z.string().nullable(),
  /** `__productcode` of the marketplace image that the line begins with. */
  productCode: z.string().nullable(),
});
export type ImageLineage = z.infer<typeof imageLineage>;
