import { CancellationScope, proxyActivities } from '@temporalio/workflow';
import { IMAGE_DELETE_STEPS, type ImageDeleteInput } from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import { QUICK, UNDO } from '../activity-options';
import { Saga } from '../saga';

/**
 * What follows the deletion of an image. The image was gone when this was accepted, so there is no way back and nobody can cancel it half way:
 * where a step fails, what it held for the image is let go all the same.
 */
export function imageDelete(input: ImageDeleteInput): Promise<void> {
  return CancellationScope.nonCancellable(async () => {
    const { jobId, epoch, projectId } = input;
    const quick = proxyActivities<ImsActivities>(QUICK);
    const undo = proxyActivities<ImsActivities>(UNDO);
    const saga = new Saga(`Delete image ${input.imageName}`, IMAGE_DELETE_STEPS);
    return saga.run({ jobId, epoch, projectId }, undefined, async () => {
      await saga.step(
        'release-origin',
        () => quick.releaseOrigin.executeWithOptions({ summary: 'Free what the image was made from' }, [input]),
        () => undo.letGo.executeWithOptions({ summary: 'Let go of backup and bytes' }, [input]),
      );
      await saga.step('drop-staged', () =>
        quick.dropStaged.executeWithOptions({ summary: 'Drop what had arrived for it' }, [input]),
      );
    });
  });
}
