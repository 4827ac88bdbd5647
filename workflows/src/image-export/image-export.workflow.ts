import { CancellationScope, proxyActivities } from '@temporalio/workflow';
import { type ImageExportInput, type ImageExportOutput, type ImageExportStep, imageExportSteps } from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import { QUICK, TRANSFER, transferQueue, UNDO } from '../activity-options';
import { deriveFirst } from '../derive-first';
import { Saga } from '../saga';

/** Writes an image into a bucket: the whole object and its sums, or nothing. */
export async function imageExport(input: ImageExportInput): Promise<ImageExportOutput> {
  const saga = new Saga<ImageExportStep>(`Export image ${input.imageName}`, imageExportSteps(input));
  const quick = proxyActivities<ImsActivities>(QUICK);
  const transfer = proxyActivities<ImsActivities>({ ...TRANSFER, taskQueue: transferQueue() });
  const undo = proxyActivities<ImsActivities>(UNDO);
  const job = { jobId: input.jobId, epoch: input.epoch, projectId: input.projectId };
  const shared = { ...job, saga: 'image-export' as const };
  const output = { imageId: input.imageId };
  return saga.run(job, output, async () => {
    await deriveFirst(saga, undo, { ...shared, imageIds: input.derive });
    const { disks } = await saga.step(
      'check-image',
      () => quick.checkImages.executeWithOptions({ summary: 'Hold the image' }, [{ ...shared, images: input.images }]),
      () => undo.dropImageHolds.executeWithOptions({ summary: 'Let go of the image' }, [shared]),
    );
    const exported = await saga.step(
      'export',
      () => transfer.exportImage.executeWithOptions({ summary: `Write ${input.format}` }, [{ ...input, disks }]),
      () => undo.withdrawExport.executeWithOptions({ summary: 'Drop what was written' }, [input]),
    );
    await saga.step(
      'check-object',
      () => transfer.checkExport.executeWithOptions({ summary: 'Read it back' }, [input]),
      () => undo.withdrawChecksum.executeWithOptions({ summary: 'Drop the sums' }, [input]),
    );
    // With this step the job succeeds. A cancellation that arrives while it commits is too late, not half a success.
    await saga.step('release-image', () =>
      CancellationScope.nonCancellable(() =>
        quick.releaseExport.executeWithOptions({ summary: 'Let go of the image' }, [{ ...input, exported }]),
      ),
    );
    return output;
  });
}
