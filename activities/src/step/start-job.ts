import {
  imageId as toImageId,
  imageKeyOf,
  imageStream,
  jobId as toJobId,
  jobStream,
  type StepInput,
} from '@ims/contract';
import { inTransaction } from '@ims/db';
import { appendEvents, type NewEvent } from '@ims/event-log';
import { eventContext, lockJob, type StepPorts } from './run-step';

/** What a job's start is told: the image that the job makes, if it makes one. */
export interface StartInput extends StepInput {
  imageId?: string;
  /** The image was there before the job. */
  existing?: boolean;
}

/** The job is under way from its first step on; before that it is INIT, however long the queue is. */
export async function startJob(ports: StepPorts, step: string, input: StartInput): Promise<void> {
  const events: NewEvent[] = [
    { stream: jobStream(toJobId(input.jobId)), key: 'started', type: 'job.started', data: {} },
  ];
  if (input.imageId !== undefined)
    events.push({
      stream: imageStream(toImageId(input.imageId)),
      key: imageKeyOf('saving', input),
      type: 'image.saving',
      data: {},
    });
  await inTransaction(ports.db, async (trx) => {
    const job = await lockJob(trx, input);
    await appendEvents(trx, eventContext(job.project_id, { name: step, input }), events);
  });
}
