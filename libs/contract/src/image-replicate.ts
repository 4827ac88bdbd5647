import { z } from 'zod';

/** Steps of the saga `image-replicate`: the sending side of a copy to another region, whose job is the one that the caller polls (ims-api 7.2). */
export const IMAGE_REPLICATE_STEPS = ['check-image', 'request-receive', 'await-receive', 'release-image'] as const;
export type ImageReplicateStep = (typeof IMAGE_REPLICATE_STEPS)[number];

export const imageReplicateInput = z.object({
  jobId: z.string(),
  /** Fencing epoch, as of every job. */
  epoch: z.number().int().positive(),
  projectId: z.string(),
  sourceImageId: z.string(),
  /** The new image, which will be one of the target region alone. */
  replica: z.object({
    imageId: z.string(),
    name: z.string(),
    description: z.string(),
    enterpriseProjectId: z.string(),
  }),
  target: z.object({
    region: z.string(),
    accountName: z.string(),
    projectName: z.string().optional(),
    agencyName: z.string(),
    vaultId: z.string().optional(),
  }),
});
export type ImageReplicateInput = z.infer<typeof imageReplicateInput>;

/** The job of the target region that takes the image in. */
export const requestedReceive = z.object({ region: z.string(), jobId: z.string(), imageId: z.string() });
export type RequestedReceive = z.infer<typeof requestedReceive>;

/** The image is active in the target region. */
export const endedReceive = z.object({
  region: z.string(),
  imageId: z.string(),
  /** What crossed the border for it, once (BIL-10). */
  wireBytes: z.number().int().nonnegative(),
  storedBytes: z.number().int().nonnegative(),
});
export type EndedReceive = z.infer<typeof endedReceive>;

export interface ImageReplicateOutput {
  imageId: string;
}
