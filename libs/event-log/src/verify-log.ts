import type { StreamId } from '@ims/contract';
import { type Database, inSnapshot } from '@ims/db';
import { type Kysely, sql } from 'kysely';
import type { EventRow } from './event-rows';
import { type Damage, type HeadRow, type KeyRow, type Original, StreamVerifier } from './stream-verifier';

type Db = Kysely<Database>;

export interface Verification {
  streams: number;
  events: number;
  /** Everything that is wrong; empty in a healthy log. */
  damages: Damage[];
}

// About 2 MiB of rows at a time with leaves of 1 to 2 KiB.
const PAGE_ROWS = 1000;

/**
 * Recomputes every leaf, hash, position, key and head of one stream and reports what disagrees. It cannot see a stream that was rewritten
 * from some event to its end together with keys and head: that takes an anchor outside of this database.
 */
export async function verifyStream(db: Db, stream: StreamId): Promise<Verification> {
  return inSnapshot(db, (trx) => verify(trx, stream));
}

/** As `verifyStream`, for every stream; events that were moved from one stream to another are told as one damage. */
export async function verifyLog(db: Db): Promise<Verification> {
  return inSnapshot(db, (trx) => verify(trx));
}

/** The same on a connection of the caller's, who answers for its view staying the same. */
export async function verify(db: Db, stream?: string): Promise<Verification> {
  const orphans = await orphanKeys(db, stream);
  const result: Verification = { streams: 0, events: 0, damages: [] };
  const originals: Original[] = [];
  const heads = new Map<string, HeadRow>();
  const finish = (verifier: StreamVerifier) => {
    const { streamId } = verifier;
    const finished = verifier.finish(heads.get(streamId), orphans.get(streamId) ?? []);
    heads.delete(streamId);
    orphans.delete(streamId);
    result.streams += 1;
    result.damages.push(...finished.damages);
    originals.push(...finished.originals);
  };

  let current: StreamVerifier | undefined;
  for await (const rows of pages(db, stream)) {
    const streams = [...new Set(rows.map(({ stream_id }) => stream_id))];
    for (const head of await db.selectFrom('stream_head').selectAll().where('stream_id', 'in', streams).execute()) {
      heads.set(head.stream_id, head);
    }
    const keys = await keysOf(db, rows);
    const confirmed: EventRow[] = [];
    for (const row of rows) {
      if (current?.streamId !== row.stream_id) {
        if (current !== undefined) finish(current);
        current = new StreamVerifier(row.stream_id);
      }
      if (current.add(row, keys.get(`${row.stream_id}\n${row.event_key}`))) confirmed.push(row);
      result.events += 1;
    }
    result.damages.push(...(await inexactData(db, confirmed)));
  }
  if (current !== undefined) finish(current);

  // Streams of which no event is left.
  for (const head of await headsWithoutEvents(db, stream)) {
    heads.set(head.stream_id, head);
    finish(new StreamVerifier(head.stream_id));
  }
  for (const streamId of [...orphans.keys()]) finish(new StreamVerifier(streamId));
  // An event that was moved or renamed is told once, not also as missing where it was.
  const present = new Set(
    originals.flatMap(({ eventId, streamId, position }) => [eventId, placeOf(position, streamId)]),
  );
  result.damages = result.damages.filter(
    ({ kind, eventId, position, streamId }) =>
      kind !== 'event-removed' || !present.has(eventId ?? placeOf(position, streamId)),
  );
  return result;
}

/** A place as text; what a damaged leaf says of it may be anything. */
function placeOf(position: unknown, streamId: unknown): string {
  return JSON.stringify([position, streamId]);
}

async function* pages(db: Db, stream: string | undefined): AsyncIterable<EventRow[]> {
  let last: EventRow | undefined;
  for (;;) {
    let query = db
      .selectFrom('event')
      .selectAll()
      .orderBy('stream_id')
      .orderBy('stream_position')
      .orderBy('event_id')
      .limit(PAGE_ROWS);
    if (stream !== undefined) query = query.where('stream_id', '=', stream);
    if (last !== undefined) {
      query = query.where(
        sql<boolean>`(stream_id, stream_position, event_id) > (${last.stream_id}, ${last.stream_position}::bigint, ${last.event_id}::uuid)`,
      );
    }
    const rows = await query.execute();
    if (rows.length > 0) yield rows;
    if (rows.length < PAGE_ROWS) return;
    last = rows.at(-1);
  }
}

async function keysOf(db: Db, rows: EventRow[]): Promise<Map<string, KeyRow>> {
  const { rows: keys } = await sql<KeyRow>`
    select k.* from unnest(${rows.map(({ stream_id }) => stream_id)}::text[], ${rows.map(({ event_key }) => event_key)}::text[])
      as n (stream_id, event_key)
    join event_key k on k.stream_id = n.stream_id and k.event_key = n.event_key`.execute(db);
  return new Map(keys.map((key) => [`${key.stream_id}\n${key.event_key}`, key]));
}

/**
 * Events whose data differ from their leaf in a number that JavaScript rounds to the same value; Postgres compares exactly.
 * Only for events whose leaf is the canonical JSON of what JavaScript reads, so that Postgres can read
 * the leaf too; materialized, because a leaf that was not picked may be no JSON at all.
 */
async function inexactData(db: Db, confirmed: EventRow[]): Promise<Damage[]> {
  const { rows } = await sql<Pick<EventRow, 'stream_id' | 'event_id' | 'stream_position'>>`
    with picked as materialized (
      select e.* from unnest(${confirmed.map(({ event_id }) => event_id)}::uuid[], ${confirmed.map(({ recorded_at }) => recorded_at)}::timestamptz[])
        as n (event_id, recorded_at)
      join event e on e.event_id = n.event_id and e.recorded_at = n.recorded_at
    )
    select stream_id, event_id, stream_position from picked
    where (convert_from(leaf, 'UTF8')::jsonb) -> 'data' is distinct from data`.execute(db);
  return rows.map((row) => ({
    kind: 'column-changed',
    streamId: row.stream_id,
    eventId: row.event_id,
    position: row.stream_position,
    detail: 'data',
  }));
}

async function orphanKeys(db: Db, stream: string | undefined): Promise<Map<string, KeyRow[]>> {
  let query = db
    .selectFrom('event_key')
    .selectAll('event_key')
    .leftJoin('event', (join) =>
      join
        .onRef('event.recorded_at', '=', 'event_key.recorded_at')
        .onRef('event.event_id', '=', 'event_key.event_id')
        .onRef('event.stream_id', '=', 'event_key.stream_id'),
    )
    .where('event.event_id', 'is', null)
    .orderBy('event_key.recorded_at')
    .orderBy('event_key.event_id');
  if (stream !== undefined) query = query.where('event_key.stream_id', '=', stream);
  const orphans = new Map<string, KeyRow[]>();
  for (const row of await query.execute()) {
    const keys = orphans.get(row.stream_id) ?? [];
    keys.push(row);
    orphans.set(row.stream_id, keys);
  }
  return orphans;
}

async function headsWithoutEvents(db: Db, stream: string | undefined): Promise<HeadRow[]> {
  let query = db
    .selectFrom('stream_head')
    .selectAll()
    .where(({ not, exists, selectFrom }) =>
      not(exists(selectFrom('event').select('event_id').whereRef('event.stream_id', '=', 'stream_head.stream_id'))),
    );
  if (stream !== undefined) query = query.where('stream_id', '=', stream);
  return query.execute();
}
