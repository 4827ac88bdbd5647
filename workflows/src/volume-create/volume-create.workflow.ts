import { CancellationScope, proxyActivities } from '@temporalio/workflow';
import { type VolumeCreateInput, type VolumeCreateStep, volumeCreateSteps } from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import { CLOUD, cloudQueue, QUICK, UNDO } from '../activity-options';
import { deriveFirst } from '../derive-first';
import { Saga } from '../saga';

export interface VolumeCreateOutput {
  volumeIds: string[];
}

/** Makes disks, from an image, a snapshot or nothing: all or none. */
export async function volumeCreate(input: VolumeCreateInput): Promise<VolumeCreateOutput> {
  const saga = new Saga<VolumeCreateStep>(`Create disk ${input.name}`, volumeCreateSteps(input));
  const quick = proxyActivities<ImsActivities>(QUICK);
  const cloud = proxyActivities<ImsActivities>({ ...CLOUD, taskQueue: cloudQueue() });
  const undo = proxyActivities<ImsActivities>(UNDO);
  const undoInCloud = proxyActivities<ImsActivities>({ ...UNDO, taskQueue: cloudQueue() });
  const job = { jobId: input.jobId, epoch: input.epoch, projectId: input.projectId };
  const shared = { ...job, saga: 'volume-create' as const };
  const { availabilityZone, images, volumes } = input;
  const output = { volumeIds: volumes.map(({ id }) => id) };
  return saga.run(job, output, async () => {
    await deriveFirst(saga, undo, { ...shared, imageIds: input.derive });
    const { disks } = await saga.step(
      'check-image',
      () => quick.checkImages.executeWithOptions({ summary: 'Hold the image' }, [{ ...shared, images }]),
      () => undo.dropImageHolds.executeWithOptions({ summary: 'Let go of the image' }, [shared]),
    );
    await saga.step(
      'create-volumes',
      () =>
        cloud.createVolumes.executeWithOptions({ summary: `Make ${volumes.length} disks` }, [
          { ...shared, availabilityZone, volumes, disks },
        ]),
      () => undoInCloud.deleteVolumes.executeWithOptions({ summary: 'Delete the disks' }, [{ ...shared, volumes }]),
    );
    // With this step the job succeeds. A cancellation that arrives while it commits is too late, not half a success.
    await saga.step('release-image', () =>
      CancellationScope.nonCancellable(() =>
        quick.releaseImages.executeWithOptions({ summary: 'Let go of the image' }, [{ ...shared, images }]),
      ),
    );
    return output;
  });
}
