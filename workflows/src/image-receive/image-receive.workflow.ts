import { CancellationScope, proxyActivities } from '@temporalio/workflow';
import {
  IMAGE_RECEIVE_STEPS,
  type ImageJob,
  type ImageReceiveInput,
  type ImageReceiveOutput,
  keptFileOf,
  WHOLE_IMAGE_RECEIVE_STEPS,
} from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import { QUICK, TRANSFER, transferQueue, UNDO } from '../activity-options';
import { Saga } from '../saga';

/** Takes an image in that another region sends: fetch, verify, publish, meter, as every image of this region ends. */
export async function imageReceive(input: ImageReceiveInput): Promise<ImageReceiveOutput> {
  const quick = proxyActivities<ImsActivities>(QUICK);
  const transfer = proxyActivities<ImsActivities>({ ...TRANSFER, taskQueue: transferQueue() });
  const undo = proxyActivities<ImsActivities>(UNDO);
  const { jobId, epoch, projectId, imageId, imageName, backup } = input;
  const job: ImageJob & { saga: 'image-receive' } = {
    jobId,
    epoch,
    projectId,
    imageId,
    imageName,
    saga: 'image-receive',
    ...(backup === undefined ? {} : { source: { kind: 'backup', backupId: backup.backupId, line: 'CBR' } }),
  };
  const steps = backup === undefined ? IMAGE_RECEIVE_STEPS : WHOLE_IMAGE_RECEIVE_STEPS;
  const saga = new Saga(`Receive image ${imageName} from ${input.from.region}`, steps);

  return saga.run(job, { imageId }, async () => {
    const disk = await saga.step(
      'receive',
      () => transfer.receiveDisks.executeWithOptions({ summary: `Fetch from ${input.from.region}` }, [input]),
      () => undo.discardReceived.executeWithOptions({ summary: 'Drop what was received' }, [{ jobId, epoch }]),
    );
    await saga.step('verify', () =>
      transfer.verifyDisk.executeWithOptions({ summary: 'Read back what was received' }, [{ ...job, disk }]),
    );
    const ending = { ...job, disk, ...keptFileOf(input, disk) };
    const recorded =
      backup === undefined
        ? undefined
        : await saga.step(
            'record-backup',
            () => quick.recordBackup.executeWithOptions({ summary: 'Record the backup' }, [{ ...input, backup, disk }]),
            () => undo.dropReplicaBackup.executeWithOptions({ summary: 'Drop the backup' }, [{ ...input, backup }]),
          );
    await saga.step(
      'publish',
      () => quick.publishImage.executeWithOptions({ summary: 'Make the image active' }, [{ ...ending, os: null }]),
      () => undo.withdrawImage.executeWithOptions({ summary: 'Withdraw the image' }, [ending]),
    );
    await saga.step(
      'meter',
      // With this step the job succeeds. A cancellation that arrives while it commits is too late, not half a success.
      () =>
        CancellationScope.nonCancellable(() =>
          quick.openUsage.executeWithOptions({ summary: 'Open the usage record' }, [
            { ...ending, ...(recorded === undefined ? {} : { backupBytes: recorded.backupBytes }) },
          ]),
        ),
      () => undo.voidUsage.executeWithOptions({ summary: 'Void the usage record' }, [job]),
    );
    return { imageId };
  });
}
