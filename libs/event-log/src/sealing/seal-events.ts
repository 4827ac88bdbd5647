import { setTimeout as delay } from 'node:timers/promises';
import { isImageId } from '@ims/contract';
import { type Clock, type Database, inTransaction, systemClock } from '@ims/db';
import { type Kysely, type Transaction, sql } from 'kysely';
import { recordedEvent } from '../event-rows';
import type { RecordedEvent } from '../event-log.port';
import { insertTraces, tracesOf } from '../traces/trace-rows';
import { jobOf, tracedJobs } from '../traces/traced-jobs';

type Db = Kysely<Database>;

/** @internal Any fixed number will do: it is the sealer's own among the advisory locks of this database. */
export const SEAL_LOCK = 4_731_921;
// Keeps a pass over a long backlog in short transactions: one that lasts holds back every reader of the log, this one included.
const BATCH = 500;

/** What comes next in the order of the log and has become immutable. */
const SEALABLE = sql<boolean>`
  (transaction_id, global_position) > (select c.transaction_id, c.global_position from seal_cursor c)
  and transaction_id < pg_snapshot_xmin(pg_current_snapshot())`;

/** @internal The looks that are taken all the time. Index event_order, one row. */
export const LOOKS = {
  isAnythingSealable: sql<{ found: boolean }>`select exists (select from event where ${SEALABLE}) as found`,
  // Ordered by the columns of the table: their bare names would be those of the texts that are selected.
  newest: sql<{ transaction_id: string; global_position: string }>`
    select transaction_id::text, global_position::text from event
    order by event.transaction_id desc, event.global_position desc limit 1`,
} as const;

/**
 * Gives every committed event that nothing can come before any more the next `log_index` of its project: 0, 1, 2, … without a gap, fixed
 * for ever (cts-api 8.3). In the same transaction its trace is written (cts-api 8.1). Does nothing, by one statement that reads one row,
 * when there is nothing new.
 *
 * One pass at a time, by an advisory lock; while another one is under way this one leaves the rest to it, and waits for nothing: a sealer that
 * hangs takes no caller along. Killed anywhere it has sealed whole batches or nothing.
 *
 * Cost: as for every reader of the log, one long transaction holds it back.
 *
 * @returns how many events it has sealed
 * @example setInterval(() => sealEvents(db), 250)
 */
export async function sealEvents(db: Db): Promise<number> {
  let sealed = 0;
  while (await isAnythingSealable(db)) {
    const count = await inTransaction(db, sealBatch);
    if (count === undefined) break;
    sealed += count;
  }
  return sealed;
}

// What waits on a transaction of a moment is sealed within a few looks.
const FIRST_PAUSE_MS = 2;
const LONGEST_PAUSE_MS = 50;

/**
 * Seals, and waits for transactions and passes under way, until every event that is visible at the call is sealed: who reads the trail afterwards
 * finds what it has seen done, and nothing is sealed any more with a `sealed_at` before the call. Gives up after `patienceMs`, when a long
 * transaction, or a sealer that hangs, holds the log back.
 *
 * @returns whether all of them are sealed
 */
export async function sealVisible(db: Db, patienceMs: number, clock: Clock = systemClock): Promise<boolean> {
  const { rows } = await LOOKS.newest.execute(db);
  const newest = rows[0];
  if (newest === undefined) return true;
  const deadline = clock.now().getTime() + patienceMs;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    await sealEvents(db);
    const reached = await sql<{ is: boolean }>`
      select (transaction_id, global_position) >= (${newest.transaction_id}::xid8, ${newest.global_position}::bigint) as is
      from seal_cursor`.execute(db);
    if (reached.rows[0]?.is === true) return true;
    if (clock.now().getTime() >= deadline) return false;
    await delay(pause);
  }
}

/** The time by which events are sealed: Postgres', which all sealers share, in whole milliseconds. */
export async function sealingTime(db: Db): Promise<Date> {
  const { rows } = await sql<{ now: Date }>`select date_trunc('milliseconds', clock_timestamp()) as now`.execute(db);
  const now = rows[0]?.now;
  if (now === undefined) throw new Error('Postgres has no time');
  return now;
}

async function isAnythingSealable(db: Db): Promise<boolean> {
  const { rows } = await LOOKS.isAnythingSealable.execute(db);
  return rows[0]?.found === true;
}

/** `undefined` while another pass is under way. */
async function sealBatch(trx: Transaction<Database>): Promise<number | undefined> {
  const { rows: locks } = await sql<{ is_ours: boolean }>`
    select pg_try_advisory_xact_lock(${SEAL_LOCK}) as is_ours`.execute(trx);
  if (locks[0]?.is_ours !== true) return undefined;
  // A statement of its own: only one that starts after the lock was granted sees what its last holder has sealed. Index event_order.
  const rows = await trx
    .selectFrom('event')
    .selectAll()
    .where(SEALABLE)
    .orderBy('transaction_id')
    .orderBy('global_position')
    .limit(BATCH)
    .execute();
  const last = rows.at(-1);
  if (last === undefined) return 0;
  const events = rows.map(recordedEvent);
  const heads = await headsOf(trx, [...new Set(events.map(({ projectId }) => projectId))]);
  const jobs = await tracedJobs(trx, events);
  const sealed = events.map((event) => {
    const head = heads.get(event.projectId);
    if (head === undefined) throw new Error(`seal ${event.eventId}: its project has no head`);
    head.logIndex += 1;
    return { ...event, logIndex: head.logIndex, sealedAt: head.sealedAt };
  });
  const job = (event: RecordedEvent) => jobs.get(jobOf(event) ?? '');
  await trx
    .insertInto('event_seal')
    .values(
      sealed.map((event) => ({
        project_id: event.projectId,
        log_index: event.logIndex,
        event_id: event.eventId,
        recorded_at: event.recordedAt,
        stream_id: event.streamId,
        type: event.type,
        job_id: jobOf(event),
        image_id: imageOf(event) ?? job(event)?.imageId ?? null,
        sealed_at: event.sealedAt,
      })),
    )
    .execute();
  await insertTraces(trx, tracesOf(sealed, jobs));
  await trx
    .updateTable('seal_cursor')
    .set({ transaction_id: last.transaction_id, global_position: last.global_position })
    .execute();
  return sealed.length;
}

interface Head {
  /** The last one given; -1 before the first. */
  logIndex: number;
  /** Of this pass. Never before that of an event with a lower index, whatever the clock does. */
  sealedAt: Date;
}

/** By Postgres' clock, which all sealers share. */
async function headsOf(trx: Transaction<Database>, projects: readonly string[]): Promise<Map<string, Head>> {
  const { rows } = await sql<{ project_id: string; log_index: number; sealed_at: Date }>`
    select p.project_id, coalesce(last.log_index, -1) as log_index,
      greatest(date_trunc('milliseconds', clock_timestamp()), last.sealed_at) as sealed_at
    from unnest(${projects}::text[]) as p (project_id)
    left join lateral (
      select log_index, sealed_at from event_seal s where s.project_id = p.project_id order by log_index desc limit 1
    ) last on true`.execute(trx);
  return new Map(
    rows.map(({ project_id, log_index, sealed_at }) => [project_id, { logIndex: log_index, sealedAt: sealed_at }]),
  );
}

/** The image whose stream, or whose usage, an event is of; that of a backup belongs to no image by itself. */
function imageOf({ streamId }: RecordedEvent): string | null {
  const subject = /^(?:image|usage):(.*)$/.exec(streamId)?.[1] ?? '';
  return isImageId(subject) ? subject : null;
}
