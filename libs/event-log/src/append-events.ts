import { randomUUIDv7 } from 'node:crypto';
import { type Actor, actor as actorSchema, EVENT_SCHEMA_VERSION, TERMINAL_KEY } from '@ims/contract';
import {
  type Clock,
  type Database,
  IdempotencyRepository,
  type ProjectedEvent,
  ProgressRepository,
  project,
  systemClock,
} from '@ims/db';
import { type Insertable, type Transaction, sql } from 'kysely';
import { EventConflictError, EventRefusedError } from './event-log.errors';
import type { EventContext, NewEvent, RecordedEvent } from './event-log.port';
import { recordedEvent } from './event-rows';
import { chainHash, contentHash, FIRST_PREV_HASH, holdsNul, leafOf, parseData } from './leaf';

type Trx = Transaction<Database>;

/** What became of one event: the recorded one, and whether this call recorded it. */
export interface AppendResult {
  event: RecordedEvent;
  /** `false`: the same key with the same content was there already, nothing has changed. */
  appended: boolean;
}

interface Candidate {
  input: NewEvent;
  data: NewEvent['data'];
  json: string;
  contentHash: Buffer;
}

interface Head {
  position: number;
  hash: Buffer;
}

/** A key found in the log. */
interface Taken {
  eventId: string;
  recordedAt: Date;
  contentHash: Buffer;
}

/**
 * Appends events to their streams inside the caller's transaction and applies them to the projections; the end of a job takes its progress along.
 *
 * The heads of all streams involved are locked in one order, so appenders queue up per stream and never lock each other out. An event
 * whose key is there already is compared by content (type and data, without times and attempts): the same content is a retry and
 * changes nothing, other content is refused. Append all events of a transaction in one call: two calls in two transactions can meet in a
 * deadlock. Three statements for any number of events, beside those of the projections.
 *
 * @param clock gives `recorded_at`, and `occurred_at` where an event has none; both in whole milliseconds
 * @returns one result per event, in the order given
 * @throws EventRefusedError data that does not fit its type, or a leaf over 65,535 bytes; nothing was written
 * @throws EventConflictError the key belongs to an event that says something else; nothing was written
 * @throws ClaimLostError the call's key belongs to another call by now; the transaction must be rolled back
 * @throws ProjectionError the event does not fit the rows; the transaction must be rolled back
 *
 * @example
 * await inTransaction(db, (trx) =>
 *   appendEvents(trx, { projectId, actor: SYSTEM, jobId }, [
 *     { type: 'job.started', stream: jobStream(jobId), key: 'started', data: {} },
 *   ]),
 * );
 */
export async function appendEvents(
  trx: Trx,
  context: EventContext,
  events: readonly NewEvent[],
  clock: Clock = systemClock,
): Promise<AppendResult[]> {
  if (events.length === 0) return [];
  const actor = checkedActor(context, events);
  const candidates = distinct(events);
  if (context.claim !== undefined) await new IdempotencyRepository(trx).settle(context.claim, clock.now());
  const { heads, transactionId } = await lockHeads(trx, [...candidates.values()]);
  const { taken, positions } = await findKeys(trx, [...candidates.values()]);

  const repeated = await readTaken(trx, candidates, taken);
  const fresh = record({ ...context, actor }, candidates, taken, heads, positions, transactionId, clock);
  if (fresh.length > 0) {
    await insert(trx, fresh, heads);
    for (const { candidate, event } of fresh) {
      // Type and data of one candidate belong together; the union cannot say so once they are taken apart.
      await project(trx, {
        type: event.type,
        data: candidate.data,
        streamId: event.streamId,
        projectId: event.projectId,
        occurredAt: event.occurredAt,
      } as ProjectedEvent);
      // Beside the projections: progress is no fact of the log, so a rebuild has nothing to do with it.
      if (event.eventKey === TERMINAL_KEY) await new ProgressRepository(trx).clear(event.streamId.replace(/^job:/, ''));
      if (event.type === 'job.paused' || event.type === 'job.resumed')
        await new ProgressRepository(trx).stopClock(event.streamId.replace(/^job:/, ''));
    }
  }
  const recorded = new Map(fresh.map(({ event }) => [nameOf(event.streamId, event.eventKey), event]));
  const reported = new Set<string>();
  return events.map((input) => {
    const name = nameOf(input.stream, input.key);
    const event = recorded.get(name) ?? repeated.get(name);
    if (event === undefined)
      throw new Error(`append to ${input.stream}: event ${input.key} was neither found nor written`);
    // The same key twice in one call: only the first one has appended.
    const appended = recorded.has(name) && !reported.has(name);
    reported.add(name);
    return { event, appended };
  });
}

/** Keys and stream ids hold no control characters, so this joins them without a second reading. */
function nameOf(stream: string, key: string): string {
  return `${stream}\n${key}`;
}

function checkedActor(context: EventContext, events: readonly NewEvent[]): Actor {
  const actor = actorSchema.safeParse(context.actor);
  const first = events[0]?.type ?? '';
  if (!actor.success) throw new EventRefusedError(first, `its actor does not fit: ${actor.error.message}`);
  for (const { type, stream, key, actor: told } of events) {
    const own = told === undefined ? undefined : actorSchema.safeParse(told);
    if (own?.success === false) throw new EventRefusedError(type, `its actor does not fit: ${own.error.message}`);
    if (stream === '' || key === '') throw new EventRefusedError(type, 'stream and key must not be empty');
    if (/\p{Cc}/u.test(stream + key))
      throw new EventRefusedError(type, 'stream and key must not hold control characters');
  }
  const text = JSON.stringify([context, events.map(({ actor: told, projectId }) => [told, projectId])]);
  if (holdsNul(text)) throw new EventRefusedError(first, 'its context holds a NUL character');
  return actor.data;
}

function distinct(events: readonly NewEvent[]): Map<string, Candidate> {
  const candidates = new Map<string, Candidate>();
  for (const input of events) {
    const { data, json } = parseData(input.type, input.data);
    const hash = contentHash(input.type, data);
    const name = nameOf(input.stream, input.key);
    const earlier = candidates.get(name);
    if (earlier === undefined) candidates.set(name, { input, data, json, contentHash: hash });
    else if (!earlier.contentHash.equals(hash)) {
      throw new EventRefusedError(input.type, `key ${input.key} is given twice with different content`);
    }
  }
  return candidates;
}

/** Locks the heads of all streams, making those that are missing. Always in the order of their names: no two appenders deadlock here. */
async function lockHeads(
  trx: Trx,
  candidates: Candidate[],
): Promise<{ heads: Map<string, Head>; transactionId: string }> {
  const streams = [...new Set(candidates.map(({ input }) => String(input.stream)))].sort();
  const { rows } = await sql<{ stream_id: string; position: number; hash: Buffer; transaction_id: string }>`
    insert into stream_head (stream_id, position, hash, transaction_id)
    select stream_id, 0, ${FIRST_PREV_HASH}::bytea, pg_current_xact_id() from unnest(${streams}::text[]) as s (stream_id)
    on conflict (stream_id) do update set transaction_id = stream_head.transaction_id
    returning stream_id, position, hash,
      greatest(transaction_id, pg_current_xact_id(), (select c.transaction_id from seal_cursor c)) as transaction_id`.execute(
    trx,
  );
  // Nothing may sort before what is sealed. That lies below every id drawn since, except in a server that was restored from the dump of another
  // one: there ids begin anew, and what is recorded with a low one would never be sealed.
  // All events of the call get the highest id among the heads, so a writer that waited for a stream never sorts before the one it waited for.
  const transactionId = rows.reduce((highest, { transaction_id }) => {
    const id = BigInt(transaction_id);
    return id > highest ? id : highest;
  }, 0n);
  return {
    heads: new Map(rows.map(({ stream_id, position, hash }) => [stream_id, { position, hash }])),
    transactionId: transactionId.toString(),
  };
}

/**
 * Which keys are there already; a statement of its own, because only one that starts after the lock was granted sees what the
 * previous holder committed. It also draws a global position per event, for the same reason: drawn before the wait they would be too low.
 */
async function findKeys(
  trx: Trx,
  candidates: Candidate[],
): Promise<{ taken: Map<string, Taken>; positions: number[] }> {
  const streams = candidates.map(({ input }) => String(input.stream));
  const keys = candidates.map(({ input }) => input.key);
  const { rows } = await sql<{
    stream_id: string;
    event_key: string;
    global_position: number;
    event_id: string | null;
    recorded_at: Date | null;
    content_hash: Buffer | null;
  }>`
    select n.stream_id, n.event_key, nextval('event_global_position') as global_position, k.event_id, k.recorded_at, k.content_hash
    from unnest(${streams}::text[], ${keys}::text[]) as n (stream_id, event_key)
    left join event_key k on k.stream_id = n.stream_id and k.event_key = n.event_key`.execute(trx);
  const taken = new Map<string, Taken>();
  for (const { stream_id, event_key, event_id, recorded_at, content_hash } of rows) {
    if (event_id === null || recorded_at === null || content_hash === null) continue;
    taken.set(nameOf(stream_id, event_key), { eventId: event_id, recordedAt: recorded_at, contentHash: content_hash });
  }
  return { taken, positions: rows.map(({ global_position }) => global_position).sort((a, b) => a - b) };
}

async function readTaken(
  trx: Trx,
  candidates: Map<string, Candidate>,
  taken: Map<string, Taken>,
): Promise<Map<string, RecordedEvent>> {
  const found = new Map<string, RecordedEvent>();
  if (taken.size === 0) return found;
  for (const [name, key] of taken) {
    const candidate = candidates.get(name);
    if (candidate !== undefined && !candidate.contentHash.equals(key.contentHash)) {
      throw new EventConflictError(candidate.input.stream, candidate.input.key, key.eventId);
    }
  }
  const keys = [...taken.values()];
  const rows = await trx
    .selectFrom('event')
    .selectAll()
    // The times leave out every partition that cannot hold one of them.
    .where(
      'recorded_at',
      'in',
      keys.map(({ recordedAt }) => recordedAt),
    )
    .where(
      'event_id',
      'in',
      keys.map(({ eventId }) => eventId),
    )
    .execute();
  for (const row of rows) found.set(nameOf(row.stream_id, row.event_key), recordedEvent(row));
  return found;
}

interface Fresh {
  candidate: Candidate;
  event: RecordedEvent;
}

/** Gives every new event its place in its stream and its link in the chain. */
function record(
  context: EventContext,
  candidates: Map<string, Candidate>,
  taken: Map<string, Taken>,
  heads: Map<string, Head>,
  positions: number[],
  transactionId: string,
  clock: Clock,
): Fresh[] {
  const recordedAt = clock.now();
  const fresh: Fresh[] = [];
  let drawn = 0;
  for (const [name, candidate] of candidates) {
    const { input } = candidate;
    const head = heads.get(input.stream);
    const globalPosition = positions[drawn];
    drawn += 1;
    if (head === undefined || globalPosition === undefined)
      throw new Error(`append to ${input.stream}: its head was not locked`);
    if (taken.has(name)) continue;
    const envelope = {
      globalPosition: BigInt(globalPosition),
      eventId: randomUUIDv7(),
      streamId: input.stream,
      streamPosition: head.position + 1,
      type: input.type,
      schemaVersion: EVENT_SCHEMA_VERSION,
      eventKey: input.key,
      occurredAt: input.occurredAt ?? recordedAt,
      recordedAt,
      transactionId,
      actor: input.actor ?? context.actor,
      projectId: input.projectId ?? context.projectId,
      jobId: context.jobId ?? null,
      requestId: context.requestId ?? null,
      workflowId: context.workflowId ?? null,
      runId: context.runId ?? null,
      step: context.step ?? null,
      attempt: context.attempt ?? null,
      data: parsedJson(candidate.json),
    };
    const leaf = leafOf(envelope);
    const event = { ...envelope, leaf, prevHash: head.hash, hash: chainHash(head.hash, leaf) };
    heads.set(input.stream, { position: event.streamPosition, hash: event.hash });
    fresh.push({ candidate, event });
  }
  return fresh;
}

/** What a later read will give: without members that are undefined. */
function parsedJson(json: string): unknown {
  return JSON.parse(json);
}

/** Keys, heads and events in one statement. */
async function insert(trx: Trx, fresh: Fresh[], heads: Map<string, Head>): Promise<void> {
  const streams = [...new Set(fresh.map(({ event }) => event.streamId))];
  const moved = streams.flatMap((stream) => {
    const head = heads.get(stream);
    return head === undefined ? [] : [head];
  });
  const transactionId = fresh[0]?.event.transactionId;
  const rows = fresh.map(({ candidate, event }): Insertable<Database['event']> => ({
    global_position: Number(event.globalPosition),
    event_id: event.eventId,
    stream_id: event.streamId,
    stream_position: event.streamPosition,
    type: event.type,
    schema_version: event.schemaVersion,
    event_key: event.eventKey,
    occurred_at: event.occurredAt,
    recorded_at: event.recordedAt,
    transaction_id: event.transactionId,
    actor: JSON.stringify(event.actor),
    project_id: event.projectId,
    job_id: event.jobId,
    request_id: event.requestId,
    workflow_id: event.workflowId,
    run_id: event.runId,
    step: event.step,
    attempt: event.attempt,
    data: candidate.json,
    leaf: event.leaf,
    prev_hash: event.prevHash,
    hash: event.hash,
  }));
  await trx
    .with('keys', (qb) =>
      qb.insertInto('event_key').values(
        fresh.map(({ candidate, event }) => ({
          stream_id: event.streamId,
          event_key: event.eventKey,
          event_id: event.eventId,
          recorded_at: event.recordedAt,
          content_hash: candidate.contentHash,
        })),
      ),
    )
    .with('heads', (qb) =>
      qb
        .updateTable('stream_head')
        .from(
          sql<{ stream_id: string; position: number; hash: Buffer }>`
            unnest(${streams}::text[], ${moved.map(({ position }) => position)}::bigint[], ${moved.map(({ hash }) => hash)}::bytea[])
          `.as<'moved'>(sql`moved (stream_id, position, hash)`),
        )
        .set((eb) => ({
          position: eb.ref('moved.position'),
          hash: eb.ref('moved.hash'),
          transaction_id: sql<string>`${transactionId}::xid8`,
        }))
        .whereRef('stream_head.stream_id', '=', 'moved.stream_id'),
    )
    .insertInto('event')
    .values(rows)
    .execute();
}
