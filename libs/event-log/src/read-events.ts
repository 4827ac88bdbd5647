import type { StreamId } from '@ims/contract';
import type { Database } from '@ims/db';
import { type Kysely, sql } from 'kysely';
import { EventCursorError } from './event-log.errors';
import type { RecordedEvent } from './event-log.port';
import { recordedEvent } from './event-rows';

type Db = Kysely<Database>;

/**
 * The event with this key in this stream, or `undefined`. A step looks here before it begins: found means done, and `data` holds its
 * output. Uses the primary key of `event_key`, then the primary key of the one partition that its time names.
 */
export async function findEvent(db: Db, stream: StreamId, key: string): Promise<RecordedEvent | undefined> {
  const found = await db
    .selectFrom('event_key')
    .select(['event_id', 'recorded_at'])
    .where('stream_id', '=', stream)
    .where('event_key', '=', key)
    .executeTakeFirst();
  if (found === undefined) return undefined;
  const row = await db
    .selectFrom('event')
    .selectAll()
    .where('recorded_at', '=', found.recorded_at)
    .where('event_id', '=', found.event_id)
    .executeTakeFirst();
  return row === undefined ? undefined : recordedEvent(row);
}

/**
 * Events of one stream in their order, from `fromPosition` (1 is the first), at most `limit` of them.
 * Uses the index `event_stream` of each partition.
 */
export async function readStream(
  db: Db,
  stream: StreamId,
  { fromPosition = 1, limit }: { fromPosition?: number; limit?: number } = {},
): Promise<RecordedEvent[]> {
  const query = db
    .selectFrom('event')
    .selectAll()
    .where('stream_id', '=', stream)
    .where('stream_position', '>=', fromPosition)
    .orderBy('stream_position');
  const rows = await (limit === undefined ? query : query.limit(limit)).execute();
  return rows.map(recordedEvent);
}

/** One page of the log. */
export interface EventPage {
  events: RecordedEvent[];
  /** Where the next page begins; equal to the given one while there is nothing new. */
  cursor: string;
}

interface Place {
  transactionId: string;
  globalPosition: string;
}

// The first part names the version, so that a later order of the log can refuse or translate cursors of this one.
const CURSOR = /^1\.(\d{1,20})\.(\d{1,19})$/;

function encodeCursor({ transactionId, globalPosition }: Place): string {
  return Buffer.from(`1.${transactionId}.${globalPosition}`).toString('base64url');
}

function decodeCursor(cursor: string): Place {
  const match = CURSOR.exec(Buffer.from(cursor, 'base64url').toString('latin1'));
  const [, transactionId, globalPosition] = match ?? [];
  if (transactionId === undefined || globalPosition === undefined) throw new EventCursorError(cursor);
  // The largest values of xid8 and bigint; beyond them Postgres would refuse the query.
  if (BigInt(transactionId) > 2n ** 64n - 1n || BigInt(globalPosition) > 2n ** 63n - 1n)
    throw new EventCursorError(cursor);
  return { transactionId, globalPosition };
}

/**
 * The whole log, page by page, in one order that no later commit changes: `(transaction_id, global_position)`, and only events whose
 * transaction id lies below that of the oldest running transaction. A sequence alone would not do: a lower number can become visible
 * after a higher one was read. Events of one stream always come in the order of the stream.
 *
 * Cost: one long transaction holds all readers back, so keep transactions short.
 *
 * @param cursor `undefined` for the beginning, else what the previous page returned
 * @param limit most events of the page
 * @throws EventCursorError on a cursor that no `readAll` has made
 */
export async function readAll(
  db: Db,
  cursor: string | undefined,
  limit: number,
  { projectId }: { projectId?: string } = {},
): Promise<EventPage> {
  let query = db
    .selectFrom('event')
    .selectAll()
    .where(sql<boolean>`transaction_id < pg_snapshot_xmin(pg_current_snapshot())`)
    .orderBy('transaction_id')
    .orderBy('global_position')
    .limit(limit);
  if (projectId !== undefined) query = query.where('project_id', '=', projectId);
  if (cursor !== undefined) {
    const { transactionId, globalPosition } = decodeCursor(cursor);
    query = query.where(
      sql<boolean>`(transaction_id, global_position) > (${transactionId}::xid8, ${globalPosition}::bigint)`,
    );
  }
  const events = (await query.execute()).map(recordedEvent);
  const last = events.at(-1);
  if (last === undefined)
    return { events, cursor: cursor ?? encodeCursor({ transactionId: '0', globalPosition: '0' }) };
  return {
    events,
    cursor: encodeCursor({ transactionId: last.transactionId, globalPosition: last.globalPosition.toString() }),
  };
}
