import type { ImageBatchInput, ImageCreateInput } from '@ims/contract';
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

/** A job's workflow by the name it is exported under, with the input that names the job. */
export interface JobWorkflow {
  type: string;
  input: { jobId: string };
  /** Shown by the engine's console beside the job's id. */
  summary: string;
}

/** The start of a job's workflow, whose id is the job's own. */
export function jobOutbox({ type, input, summary }: JobWorkflow, region: string): OutboxRow {
  return {
    workflow_type: type,
    workflow_id: jobWorkflowId(toJobId(input.jobId)),
    task_queue: controlQueue(region),
    input: JSON.stringify(input),
    summary: summary.slice(0, 200),
  };
}

export const imageCreateWorkflow = (input: ImageCreateInput): JobWorkflow => ({
  type: 'imageCreate',
  input,
  summary: `Create image ${input.imageName}`,
});

export const imageBatchWorkflow = (input: ImageBatchInput): JobWorkflow => ({
  type: 'imageBatch',
  input,
  summary: `Create images ${input.title}`,
});
