import type { Database } from '@ims/db';
import { appendEvents, type EventContext, type NewEvent } from '@ims/event-log';
import type { Transaction } from 'kysely';
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

/** Writes the events of an accepted job and the outbox row of its workflow; the caller's transaction makes them one fact. */
export async function acceptJob(
  trx: Transaction<Database>,
  context: EventContext,
  events: NewEvent[],
  row: OutboxRow,
): Promise<{ outboxId: number }> {
  await appendEvents(trx, context, events);
  const { id } = await trx.insertInto('outbox').values(row).returning('id').executeTakeFirstOrThrow();
  return { outboxId: id };
}
