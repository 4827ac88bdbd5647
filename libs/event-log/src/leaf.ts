import { createHash } from 'node:crypto';
import { EVENTS, type EventData, type EventType } from '@ims/contract';
import canonicalize from 'canonicalize';
import { EventRefusedError } from './event-log.errors';
import type { RecordedEvent } from './event-log.port';

/** Longest leaf in bytes: an entry of a tile bundle cannot be longer (cts-api 8.2). */
export const MAX_LEAF_BYTES = 65_535;

/** `prev_hash` of the first event of a stream. */
export const FIRST_PREV_HASH: Buffer = Buffer.alloc(32);

/** Everything of an event that its leaf holds: all but the leaf itself and the chain. A damaged row may have any type and actor. */
export type Envelope = Omit<RecordedEvent, 'leaf' | 'prevHash' | 'hash' | 'type' | 'actor'> & {
  type: string;
  actor: unknown;
};

/** Canonical JSON (RFC 8785). */
export function canonical(value: unknown): string {
  const text = canonicalize(value);
  if (text === undefined) throw new TypeError('there is no JSON for it');
  return text;
}

/** Fields of the leaf by the names of the columns of `event`; the verifier reports a changed column by this name. */
export function envelopeFields(event: Envelope): Record<string, unknown> {
  return {
    event_id: event.eventId,
    stream_id: event.streamId,
    stream_position: event.streamPosition,
    // Text, because JSON numbers lose digits beyond 2^53.
    global_position: event.globalPosition.toString(),
    transaction_id: event.transactionId,
    type: event.type,
    schema_version: event.schemaVersion,
    event_key: event.eventKey,
    occurred_at: event.occurredAt.toISOString(),
    recorded_at: event.recordedAt.toISOString(),
    actor: event.actor,
    project_id: event.projectId,
    job_id: event.jobId,
    request_id: event.requestId,
    workflow_id: event.workflowId,
    run_id: event.runId,
    step: event.step,
    attempt: event.attempt,
    data: event.data,
  };
}

/**
 * The bytes that are hashed: canonical JSON (RFC 8785) of the envelope. Computed once, stored, and hashed as stored, so that neither a
 * new schema version nor another serialiser can break an old proof.
 *
 * @throws EventRefusedError when they are more than 65,535 bytes
 */
export function leafOf(event: Envelope): Buffer {
  let leaf: Buffer;
  try {
    leaf = Buffer.from(canonical(envelopeFields(event)), 'utf8');
  } catch (error) {
    throw new EventRefusedError(event.type, 'its context has no canonical JSON', { cause: error });
  }
  if (leaf.length > MAX_LEAF_BYTES) {
    throw new EventRefusedError(event.type, `its leaf has ${leaf.length} bytes, ${MAX_LEAF_BYTES} are allowed`);
  }
  return leaf;
}

/** `sha256(prev_hash || leaf)`: one link of a stream's chain. */
export function chainHash(prevHash: Uint8Array, leaf: Uint8Array): Buffer {
  return createHash('sha256').update(prevHash).update(leaf).digest();
}

/** SHA-256 over type and data alone: equal for every attempt of the same step, because times and attempt numbers are no part of it. */
export function contentHash(type: string, data: unknown): Buffer {
  return createHash('sha256').update(canonical({ type, data })).digest();
}

/** Whether the text names an event type of this version of the service. */
export function isEventType(text: string): text is EventType {
  return Object.hasOwn(EVENTS, text);
}

/**
 * Data checked by the schema of its type; unknown members are dropped.
 *
 * @throws EventRefusedError when it does not fit, or holds a text that Postgres or RFC 8785 cannot (NUL, lone surrogate)
 */
export function parseData<T extends EventType>(type: T, data: unknown): { data: EventData<T>; json: string } {
  const parsed = EVENTS[type].safeParse(data);
  if (!parsed.success) throw new EventRefusedError(type, `its data does not fit: ${parsed.error.message}`);
  let json: string;
  try {
    json = canonical(parsed.data);
  } catch (error) {
    throw new EventRefusedError(type, 'its data has no canonical JSON', { cause: error });
  }
  // jsonb refuses U+0000; said here, before anything is written.
  if (holdsNul(json)) throw new EventRefusedError(type, 'its data holds a NUL character');
  // The schema of this very type made the value; the compiler cannot follow that through a union of schemas.
  return { data: parsed.data as EventData<T>, json };
}

/** Whether a JSON text holds U+0000. An even number of backslashes before the `u` is text that looks like one. */
export function holdsNul(json: string): boolean {
  return /(?<!\\)(?:\\\\)*\\u0000/.test(json);
}
