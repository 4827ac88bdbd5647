import type { TrailEvent } from '@ims/contract';
import type { SealedEvent } from '@ims/event-log';

/** An event as the replay shows it (cts-api 8.5). */
export const toTrailEvent = (event: SealedEvent): TrailEvent => ({
  log_index: event.logIndex,
  event_id: event.eventId,
  stream_id: event.streamId,
  stream_position: event.streamPosition,
  type: event.type,
  schema_version: event.schemaVersion,
  occurred_at: event.occurredAt.toISOString(),
  sealed_at: event.sealedAt.toISOString(),
  actor: { ...event.actor },
  job_id: event.jobId,
  request_id: event.requestId,
  step: event.step,
  data: event.data,
  hash: event.hash.toString('hex'),
});

/** One message of the stream of events. Its id is where a reader that lost the connection goes on. */
export const toMessage = (event: SealedEvent): string =>
  `id: ${event.logIndex}\ndata: ${JSON.stringify(toTrailEvent(event))}\n\n`;
