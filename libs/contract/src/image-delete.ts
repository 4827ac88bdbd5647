import { z } from 'zod';
import { type ImageId, type JobId, jobId } from './ids';

/** Steps of the saga `image-delete`, in order: what follows once the image itself is gone. */
export const IMAGE_DELETE_STEPS = ['release-origin', 'drop-staged'] as const;
export type ImageDeleteStep = (typeof IMAGE_DELETE_STEPS)[number];

/** An image is deleted at most once, so its deletion is the one job that bears its id: deleted twice at once, it is one job. */
export const imageDeleteJobId = (id: ImageId): JobId => jobId(id.replaceAll('-', ''));

export const imageDeleteInput = z.object({
  jobId: z.string(),
  /** Fencing epoch, as of every job. */
  epoch: z.number().int().positive(),
  projectId: z.string(),
  imageId: z.string(),
  imageName: z.string(),
  /** The backup that the image was made from (`__backup_id`, ims-api 2.2), and whether it goes too (ims-api 12.6). */
  backup: z.object({ id: z.string(), isDeleted: z.boolean() }).nullable(),
});
export type ImageDeleteInput = z.infer<typeof imageDeleteInput>;

/** What the image had been made from, free again. */
export const releasedOrigin = z.object({ backupId: z.string().nullable(), isBackupDeleted: z.boolean() });
export type ReleasedOrigin = z.infer<typeof releasedOrigin>;

/** Bytes that had arrived for the image and that no job had taken (`null`: there were none). */
export const droppedStaged = z.object({ stagedFileId: z.string().nullable() });
export type DroppedStaged = z.infer<typeof droppedStaged>;
