import type { Actor, EventData, EventType, StreamId } from '@ims/contract';
import type { IdempotencyClaim } from '@ims/db';

/** One event to append. `key` is unique within its stream: appending the same key again changes nothing. */
export type NewEvent = {
  [T in EventType]: {
    type: T;
    stream: StreamId;
    key: string;
    data: EventData<T>;
    /** When it happened; now when left out. */
    occurredAt?: Date;
    /** Whose trail it is in, where that is not the caller's project: of an image of somebody else's, its owner's. */
    projectId?: string;
    /** Who did it, as far as that trail may tell; the actor of the context when left out. */
    actor?: Actor;
  };
}[EventType];

/** What all events of one transaction share. */
export interface EventContext {
  projectId: string;
  actor: Actor;
  jobId?: string;
  requestId?: string;
  workflowId?: string;
  runId?: string;
  step?: string;
  attempt?: number;
  /** The key of a call that must not be done twice: it is spent in the same transaction. In no event. */
  claim?: IdempotencyClaim | undefined;
}

/** A stored event. Hash chain per stream: `hash = sha256(prevHash || leaf)`, leaf = canonical JSON (RFC 8785) of the envelope. */
export interface RecordedEvent {
  globalPosition: bigint;
  eventId: string;
  streamId: string;
  streamPosition: number;
  type: EventType;
  schemaVersion: number;
  eventKey: string;
  occurredAt: Date;
  recordedAt: Date;
  transactionId: string;
  actor: Actor;
  projectId: string;
  jobId: string | null;
  requestId: string | null;
  workflowId: string | null;
  runId: string | null;
  step: string | null;
  attempt: number | null;
  data: unknown;
  leaf: Buffer;
  prevHash: Buffer;
  hash: Buffer;
}
