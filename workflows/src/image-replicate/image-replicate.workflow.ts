import { CancellationScope, proxyActivities } from '@temporalio/workflow';
import { IMAGE_REPLICATE_STEPS, type ImageReplicateInput, type ImageReplicateOutput } from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import { QUICK, UNDO } from '../activity-options';
import { Saga } from '../saga';

/** Sends an image to another region: holds it here, asks that region to take it in, and waits until it has (REP-03). */
export async function imageReplicate(input: ImageReplicateInput): Promise<ImageReplicateOutput> {
  const quick = proxyActivities<ImsActivities>(QUICK);
  const undo = proxyActivities<ImsActivities>(UNDO);
  const { jobId, epoch, projectId, replica, target } = input;
  const saga = new Saga(`Copy image to ${target.region} as ${replica.name}`, IMAGE_REPLICATE_STEPS);

  return saga.run({ jobId, epoch, projectId }, { imageId: replica.imageId }, async () => {
    await saga.step(
      'check-image',
      () => quick.holdReplicated.executeWithOptions({ summary: 'Hold the image' }, [input]),
      () => undo.dropReplicatedHolds.executeWithOptions({ summary: 'Let go of the image' }, [{ jobId, epoch }]),
    );
    const receive = await saga.step(
      'request-receive',
      () => quick.requestReceive.executeWithOptions({ summary: `Ask ${target.region} to take it in` }, [input]),
      () => undo.cancelReceive.executeWithOptions({ summary: `Ask ${target.region} to undo it` }, [input]),
    );
    const received = await saga.step('await-receive', () =>
      quick.awaitReceive.executeWithOptions({ summary: `Wait for ${target.region}` }, [{ ...input, receive }]),
    );
    // With this step the job succeeds. A cancellation that arrives while it commits is too late, not half a success.
    await saga.step('release-image', () =>
      CancellationScope.nonCancellable(() =>
        quick.releaseReplicated.executeWithOptions({ summary: 'Let go of the image' }, [{ ...input, received }]),
      ),
    );
    return { imageId: received.imageId };
  });
}
