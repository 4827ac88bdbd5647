import type { ImageCreateInput } from '@ims/contract';
import { jobId as toJobId, jobWorkflowId } from '@ims/contract';
import { controlQueue } from './queues';

/** A workflow that is to be started: written in the transaction that makes it necessary, sent afterwards. */
export interface OutboxRow {
  workflow_type: string;
  workflow_id: string;
  task_queue: string;
  input: string;
  summary: string;
  allow_duplicate?: boolean;
}

export function imageCreateOutbox(input: ImageCreateInput, region: string): OutboxRow {
  return {
    workflow_type: 'imageCreate',
    workflow_id: jobWorkflowId(toJobId(input.jobId)),
    task_queue: controlQueue(region),
    input: JSON.stringify(input),
    summary: `Create image ${input.imageName}`.slice(0, 200),
  };
}
