import { jobId as toJobId, jobStream, TERMINAL_KEY } from '@ims/contract';
import type { NewEvent } from '@ims/event-log';

/** The end of a job that did what it was for; a companion of its last step's event. */
export const jobSucceeded = (jobId: string, imageId: string | null): NewEvent => ({
  stream: jobStream(toJobId(jobId)),
  key: TERMINAL_KEY,
  type: 'job.succeeded',
  data: { imageId },
});
