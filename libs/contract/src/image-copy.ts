import { z } from 'zod';

/** Steps of the saga `image-copy`: a copy of an image in its region, under another key or none (ims-api 7.1). */
export const IMAGE_COPY_STEPS = ['check-image', 'copy-disk', 'verify', 'publish', 'meter'] as const;
export type ImageCopyStep = (typeof IMAGE_COPY_STEPS)[number] | 'derive-disk';

export const imageCopyInput = z.object({
  jobId: z.string(),
  /** Fencing epoch, as of every job. */
  epoch: z.number().int().positive(),
  projectId: z.string(),
  sourceImageId: z.string(),
  /** The disk of the source that is copied. */
  part: z.string(),
  /** The source is a file: the disk in it has to be made readable first. */
  derive: z.array(z.string()).optional(),
  /** The new image. */
  imageId: z.string(),
  imageName: z.string(),
  kind: z.enum(['system', 'data']),
  /** The key that the copy is kept under; absent for one that is not encrypted. */
  cmkId: z.string().optional(),
});
export type ImageCopyInput = z.infer<typeof imageCopyInput>;

/** The steps of one copy: the disk in a file is made readable first. */
export const imageCopySteps = ({ derive }: Pick<ImageCopyInput, 'derive'>): ImageCopyStep[] =>
  derive === undefined ? [...IMAGE_COPY_STEPS] : ['derive-disk', ...IMAGE_COPY_STEPS];

export interface ImageCopyOutput {
  imageId: string;
}
