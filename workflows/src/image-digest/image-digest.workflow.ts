import { proxyActivities } from '@temporalio/workflow';
import type { ImageDigestInput, ImageDigestOutput } from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import { TRANSFER, transferQueue } from '../activity-options';

/**
 * MD5 and SHA-512 of the file a plain download serves. After the job's SUCCESS, because a linear digest of a whole disk
 * must never be on the way of a job (design 4). Nothing to undo: it only adds what it found.
 */
export async function imageDigest(input: ImageDigestInput): Promise<ImageDigestOutput | null> {
  const { digestImage } = proxyActivities<ImsActivities>({ ...TRANSFER, taskQueue: transferQueue() });
  return digestImage.executeWithOptions({ summary: 'Digest the ZVHD2 file' }, [input]);
}
