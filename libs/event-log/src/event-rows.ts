import { actor } from '@ims/contract';
import type { Database, ProjectedEvent } from '@ims/db';
import type { Selectable } from 'kysely';
import type { RecordedEvent } from './event-log.port';
import { type Envelope, isEventType, parseData } from './leaf';

export type EventRow = Selectable<Database['event']>;

/** What the leaf of a row holds, as the columns say; type, actor and data unchecked. */
export function envelopeOf(row: EventRow): Envelope {
  return {
    globalPosition: BigInt(row.global_position),
    eventId: row.event_id,
    streamId: row.stream_id,
    streamPosition: row.stream_position,
    type: row.type,
    schemaVersion: row.schema_version,
    eventKey: row.event_key,
    occurredAt: row.occurred_at,
    recordedAt: row.recorded_at,
    transactionId: row.transaction_id,
    actor: row.actor,
    projectId: row.project_id,
    jobId: row.job_id,
    requestId: row.request_id,
    workflowId: row.workflow_id,
    runId: row.run_id,
    step: row.step,
    attempt: row.attempt,
    data: row.data,
  };
}

/** A row of `event` as the port shows it. */
export function recordedEvent(row: EventRow): RecordedEvent {
  const { type } = row;
  if (!isEventType(type))
    throw new TypeError(`event ${row.event_id} has the type ${type}, which this version does not know`);
  return {
    ...envelopeOf(row),
    type,
    actor: actor.parse(row.actor),
    leaf: row.leaf,
    prevHash: row.prev_hash,
    hash: row.hash,
  };
}

/** An event with its data read by the schema of its type, as projections and evolvers take it. */
export function typedEvent(event: RecordedEvent): ProjectedEvent {
  const { type, streamId, projectId, occurredAt } = event;
  const { data } = parseData(type, event.data);
  // Data was parsed by the schema of this very type; the union cannot say so.
  return { type, data, streamId, projectId, occurredAt } as ProjectedEvent;
}
