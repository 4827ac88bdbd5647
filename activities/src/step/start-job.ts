import { imageId as toImageId, type ImageCreateInput, imageStream, jobId as toJobId, jobStream } from '@ims/contract';
import { inTransaction } from '@ims/db';
import { appendEvents } from '@ims/event-log';
import { eventContext, lockJob, type StepPorts } from './run-step';

/** The job is under way from its first step on; before that it is INIT, however long the queue is. */
export async function startJob(ports: StepPorts, step: string, input: ImageCreateInput): Promise<void> {
  await inTransaction(ports.db, async (trx) => {
    const job = await lockJob(trx, input);
    await appendEvents(trx, eventContext(job.project_id, { name: step, input }), [
      { stream: jobStream(toJobId(input.jobId)), key: 'started', type: 'job.started', data: {} },
      { stream: imageStream(toImageId(input.imageId)), key: 'saving', type: 'image.saving', data: {} },
    ]);
  });
}
