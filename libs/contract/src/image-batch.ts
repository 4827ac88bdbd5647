import { z } from 'zod';

/** The one step of the saga `image-batch`: its images are made by jobs of their own, each with its own workflow. */
export const IMAGE_BATCH_STEPS = ['sub-jobs'] as const;
export type ImageBatchStep = (typeof IMAGE_BATCH_STEPS)[number];

export const imageBatchInput = z.object({
  jobId: z.string(),
  /** Fencing epoch, as of every job. */
  epoch: z.number().int().positive(),
  projectId: z.string(),
  /** Names of the images, for people. */
  title: z.string(),
  /** Jobs that make the images, in the order of the request. */
  subJobIds: z.array(z.string()),
});
export type ImageBatchInput = z.infer<typeof imageBatchInput>;

/** The images that the sub-jobs have made, in the order of the request. */
export const endedSubJobs = z.object({ images: z.array(z.object({ jobId: z.string(), imageId: z.string() })) });
export type EndedSubJobs = z.infer<typeof endedSubJobs>;
