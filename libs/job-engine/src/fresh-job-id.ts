import { randomUUID } from 'node:crypto';
import { jobId, type JobId } from '@ims/contract';

/** An id that no job has had: a random UUID without its hyphens (ims-api 2.1). */
export const freshJobId = (): JobId => jobId(randomUUID().replaceAll('-', ''));
