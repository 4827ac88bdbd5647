import { CancellationScope, proxyActivities } from '@temporalio/workflow';
import { type ImageCopyInput, type ImageCopyOutput, type ImageCopyStep, imageCopySteps } from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import { QUICK, TRANSFER, transferQueue, UNDO } from '../activity-options';
import { deriveFirst } from '../derive-first';
import { Saga } from '../saga';

/** Copies an image in its region, under another key or none (REP-01): hold, copy, verify, publish, meter. */
export async function imageCopy(input: ImageCopyInput): Promise<ImageCopyOutput> {
  const saga = new Saga<ImageCopyStep>(`Copy image as ${input.imageName}`, imageCopySteps(input));
  const quick = proxyActivities<ImsActivities>(QUICK);
  const transfer = proxyActivities<ImsActivities>({ ...TRANSFER, taskQueue: transferQueue() });
  const undo = proxyActivities<ImsActivities>(UNDO);
  const { jobId, epoch, projectId, sourceImageId, part, imageId, imageName, kind, cmkId } = input;
  const shared = { jobId, epoch, projectId, saga: 'image-copy' as const };
  const job = { ...shared, imageId, imageName, kind, cmkId };

  return saga.run(job, { imageId }, async () => {
    await deriveFirst(saga, undo, { ...shared, imageIds: input.derive });
    const { disks } = await saga.step(
      'check-image',
      () =>
        quick.checkImages.executeWithOptions({ summary: 'Hold the image' }, [
          { ...shared, imageId, images: [{ imageId: sourceImageId, parts: [part] }] },
        ]),
      () => undo.dropImageHolds.executeWithOptions({ summary: 'Let go of the image' }, [shared]),
    );
    const disk = await saga.step(
      'copy-disk',
      () =>
        transfer.copyImageDisk.executeWithOptions({ summary: 'Store it under its key' }, [
          { ...input, source: sourceOf(disks) },
        ]),
      () => undo.discardCopy.executeWithOptions({ summary: 'Drop what was stored' }, [{ jobId, epoch }]),
    );
    await saga.step('verify', () =>
      transfer.verifyDisk.executeWithOptions({ summary: 'Read it back' }, [{ ...shared, disk }]),
    );
    await saga.step(
      'publish',
      () => quick.publishImage.executeWithOptions({ summary: 'Make the image active' }, [{ ...job, disk, os: null }]),
      () => undo.withdrawImage.executeWithOptions({ summary: 'Withdraw the image' }, [{ ...job, disk }]),
    );
    // With this step the job succeeds. A cancellation that arrives while it commits is too late, not half a success.
    await saga.step(
      'meter',
      () =>
        CancellationScope.nonCancellable(() =>
          quick.openUsage.executeWithOptions({ summary: 'Open the usage record' }, [{ ...job, disk }]),
        ),
      () => undo.voidUsage.executeWithOptions({ summary: 'Void the usage record' }, [job]),
    );
    return { imageId };
  });
}

function sourceOf<Disk>(disks: readonly Disk[]): Disk {
  const [disk] = disks;
  if (disk === undefined) throw new TypeError('the job holds no disk');
  return disk;
}
