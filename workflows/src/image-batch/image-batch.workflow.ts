import { proxyActivities } from '@temporalio/workflow';
import { IMAGE_BATCH_STEPS, type ImageBatchInput } from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import { QUICK, UNDO } from '../activity-options';
import { Saga } from '../saga';

/**
 * One job over the jobs of several images. Each of those has a workflow of its own, started and restarted by itself; this one knows of them what
 * Postgres says, so it is none the wiser and none the worse when the engine forgets everything.
 */
export async function imageBatch(input: ImageBatchInput): Promise<void> {
  const job = { jobId: input.jobId, epoch: input.epoch, projectId: input.projectId };
  const quick = proxyActivities<ImsActivities>(QUICK);
  const undo = proxyActivities<ImsActivities>(UNDO);
  const saga = new Saga(`Create images ${input.title}`, IMAGE_BATCH_STEPS);
  return saga.run(job, undefined, async () => {
    await saga.step(
      'sub-jobs',
      () => quick.awaitSubJobs.executeWithOptions({ summary: `Wait for ${input.subJobIds.length} jobs` }, [input]),
      () => undo.endSubJobs.executeWithOptions({ summary: 'End the jobs that are left' }, [input]),
    );
  });
}
