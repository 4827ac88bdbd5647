import { type EventData, type JobId, jobStream } from '@ims/contract';
import type { DomainEvent } from '../domain-event';

/** The first event of every job's stream: what was asked for, and the steps by which it will be done. */
export const jobAccepted = (jobId: JobId, data: EventData<'job.accepted'>): DomainEvent => ({
  type: 'job.accepted',
  stream: jobStream(jobId),
  key: 'accepted',
  data,
});
