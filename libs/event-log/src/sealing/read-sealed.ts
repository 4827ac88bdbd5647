import type { Database } from '@ims/db';
import { type Kysely, sql } from 'kysely';
import { recordedEvent } from '../event-rows';
import type { RecordedEvent } from '../event-log.port';

type Db = Kysely<Database>;

/** An event with its place in the order of its project (cts-api 8.3). */
export type SealedEvent = RecordedEvent & { logIndex: number; sealedAt: Date };

export interface SealedFilter {
  projectId: string;
  /** 0 when left out. */
  fromIndex?: number | undefined;
  /** The last index that counts; all when left out. */
  toIndex?: number | undefined;
  streamId?: string | undefined;
  /** Events of this job's stream, and those that were recorded for the job. */
  jobId?: string | undefined;
  /** Events of the image's streams, and those of the jobs that make it, copy it or delete it. */
  imageId?: string | undefined;
  type?: string | undefined;
  /** All when left out. */
  limit?: number | undefined;
}

/**
 * Sealed events of a project by `log_index`, ascending. What was read once is read again for ever. Takes one index of `event_seal` by the
 * narrowest filter (`event_seal_stream`, `event_seal_job`, `event_seal_image`, `event_seal_type`, else the primary key), then the primary key
 * of the partitions that hold the events.
 *
 * @example await readSealed(db, { projectId, imageId, fromIndex: page.nextIndex, limit: 100 })
 */
export async function readSealed(db: Db, filter: SealedFilter): Promise<SealedEvent[]> {
  let query = db
    .selectFrom('event_seal')
    .select(['log_index', 'event_id', 'recorded_at', 'sealed_at'])
    .where('project_id', '=', filter.projectId)
    .where('log_index', '>=', filter.fromIndex ?? 0)
    .orderBy('log_index');
  if (filter.toIndex !== undefined) query = query.where('log_index', '<=', filter.toIndex);
  if (filter.streamId !== undefined) query = query.where('stream_id', '=', filter.streamId);
  if (filter.jobId !== undefined) query = query.where('job_id', '=', filter.jobId);
  if (filter.imageId !== undefined) query = query.where('image_id', '=', filter.imageId);
  if (filter.type !== undefined) query = query.where('type', '=', filter.type);
  if (filter.limit !== undefined) query = query.limit(filter.limit);
  const seals = await query.execute();
  if (seals.length === 0) return [];
  const rows = await db
    .selectFrom('event')
    .selectAll()
    // The times leave out every partition that cannot hold one of them. Arrays: a query has 65,535 parameters at most.
    .where(
      sql<boolean>`recorded_at = any(${[...new Set(seals.map((seal) => seal.recorded_at.toISOString()))]}::timestamptz[])`,
    )
    .where(sql<boolean>`event_id = any(${seals.map(({ event_id }) => event_id)}::uuid[])`)
    .execute();
  const events = new Map(rows.map((row) => [row.event_id, recordedEvent(row)]));
  return seals.map(({ log_index, event_id, sealed_at }) => {
    const event = events.get(event_id);
    if (event === undefined)
      throw new Error(`event ${event_id} is sealed as ${log_index} of its project and is not there`);
    return { ...event, logIndex: log_index, sealedAt: sealed_at };
  });
}

// Little enough to hold of the largest events, which have 64 KiB.
const PAGE = 100;

/** As `readSealed`, a page at a time: however many there are, no more than a page of them is held. */
export async function* eachSealed(db: Db, filter: SealedFilter, page = PAGE): AsyncGenerator<SealedEvent, void, void> {
  let { fromIndex = 0 } = filter;
  let left = filter.limit ?? Number.MAX_SAFE_INTEGER;
  for (;;) {
    const limit = Math.min(page, left);
    const events = limit === 0 ? [] : await readSealed(db, { ...filter, fromIndex, limit });
    yield* events;
    const last = events.at(-1);
    if (last === undefined || events.length < limit) return;
    fromIndex = last.logIndex + 1;
    left -= events.length;
  }
}

/** The highest index that is sealed, by a time when one is given: `undefined` while there is none. Index `event_seal_time`. */
export async function lastSealed(db: Db, projectId: string, until?: Date): Promise<number | undefined> {
  const query = db.selectFrom('event_seal').select('log_index').where('project_id', '=', projectId);
  const row = await (
    until === undefined
      ? query.orderBy('log_index', 'desc')
      : query.where('sealed_at', '<=', until).orderBy('sealed_at', 'desc').orderBy('log_index', 'desc')
  )
    .limit(1)
    .executeTakeFirst();
  return row?.log_index;
}
