import { z } from 'zod';

/** Attributes of an image that a user or a step may set, as events carry them (names as in ims-api 2.2, without the wire's string typing). */
export const imageAttributes = z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()]));
export type ImageAttributes = z.infer<typeof imageAttributes>;
