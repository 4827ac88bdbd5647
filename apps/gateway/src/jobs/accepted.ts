import type { JobAccepted, JobId } from '@ims/contract';
import type { Call } from '../access/permits';
import { Answer } from '../http/answer';

/** 202 and where the work can be watched: in this service a task is a job. */
export function accepted(caller: Call, job: JobId): Answer {
  const body: JobAccepted = { job_id: job };
  return new Answer(202, body, { Location: `/v1/${caller.projectId}/jobs/${job}`, 'X-Job-Id': job });
}
