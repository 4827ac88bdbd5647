import { hash } from 'node:crypto';
import { type JobId, jobId } from '@ims/contract';

/** The job that receives is named after the one that sends and both regions: a request that is repeated finds the same one. */
export const receiveJobId = (request: { from: string; to: string; jobId: string }): JobId =>
  jobId(hash('sha256', `receive\n${request.from}\n${request.to}\n${request.jobId}`, 'hex').slice(0, 32));
