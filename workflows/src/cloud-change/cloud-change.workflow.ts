import { CancellationScope, proxyActivities } from '@temporalio/workflow';
import { type ChangedThings, type CloudChangeInput, type CloudChangeStep, cloudChangeSteps } from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import { CLOUD, cloudQueue, QUICK, UNDO } from '../activity-options';
import { deriveFirst } from '../derive-first';
import { Saga } from '../saga';

/**
 * Changes what is there: servers are started, stopped, deleted or given another operating system, a disk is deleted. None of that can be undone, so
 * it is the last step, and one that is not cancelled once it has begun.
 */
export async function cloudChange(input: CloudChangeInput): Promise<ChangedThings | null> {
  const saga = new Saga<CloudChangeStep>(`${input.change.kind}: ${input.name}`, cloudChangeSteps(input));
  const quick = proxyActivities<ImsActivities>(QUICK);
  const cloud = proxyActivities<ImsActivities>({ ...CLOUD, taskQueue: cloudQueue() });
  const undo = proxyActivities<ImsActivities>(UNDO);
  const job = { jobId: input.jobId, epoch: input.epoch, projectId: input.projectId };
  const shared = { ...job, saga: 'cloud-change' as const };
  return saga.run(job, null, async () => {
    await deriveFirst(saga, undo, { ...shared, imageIds: input.derive });
    const { disks } =
      input.images.length === 0
        ? { disks: [] }
        : await saga.step(
            'check-image',
            () =>
              quick.checkImages.executeWithOptions({ summary: 'Hold the image' }, [
                { ...shared, images: input.images },
              ]),
            () => undo.dropImageHolds.executeWithOptions({ summary: 'Let go of the image' }, [shared]),
          );
    const changed = await saga.step('change', () =>
      CancellationScope.nonCancellable(() =>
        cloud.changeCloud.executeWithOptions({ summary: `${input.change.kind}: ${input.name}` }, [{ ...input, disks }]),
      ),
    );
    return changed;
  });
}
