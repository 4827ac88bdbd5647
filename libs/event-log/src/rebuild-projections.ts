import {
  connect,
  type Database,
  inSnapshot,
  inTransaction,
  PROJECTION_TABLES,
  project,
  type ProjectionTable,
  SCHEMA,
} from '@ims/db';
import { type Kysely, type Transaction, sql } from 'kysely';
import { createHash } from 'node:crypto';
import { type EventRow, recordedEvent, typedEvent } from './event-rows';

/** A row that the tables and the events disagree about. */
export interface RebuildDifference {
  table: ProjectionTable;
  /** Primary key of the row. */
  key: Record<string, unknown>;
  /** The row as it is in the live table; `undefined` when it is not there. */
  live: Record<string, unknown> | undefined;
  /** The row as the events make it; `undefined` when they make none. */
  rebuilt: Record<string, unknown> | undefined;
}

export interface Rebuild {
  events: number;
  rows: number;
  /** Empty in a healthy system (I5). */
  differences: RebuildDifference[];
}

type Db = Kysely<Database>;

const SHADOW = 'ims_rebuild';
// Any fixed number will do; one rebuild at a time, because they share the schema.
const REBUILD_LOCK = 4_731_907;
// Rows fetched and events applied at a time: keeps memory flat and transactions short.
const BATCH = 2000;
// Events of different streams touch different rows, so that many connections replay at once; more than this only queue up in Postgres.
const LANES = 4;

/**
 * Replays every event into empty copies of the projection tables, in a schema of their own, and compares each row with the live one.
 * Live tables are only read, on one unchanging view, so the service may go on working meanwhile. The copies are dropped at the end; what a
 * killed rebuild has left is dropped by the next one.
 *
 * @param ownerUrl connection of the role that owns the schema
 * @throws ProjectionError when an event cannot be applied to what the events before it made
 */
export async function rebuildProjections(ownerUrl: string): Promise<Rebuild> {
  const live = connect(ownerUrl, { poolSize: 2 });
  const shadow = connect(ownerUrl, { poolSize: LANES, schema: SHADOW });
  try {
    return await live.connection().execute(async (lock) => {
      await sql`select pg_advisory_lock(${REBUILD_LOCK})`.execute(lock);
      try {
        await createCopies(lock);
        return await inSnapshot(live, async (view) => {
          const events = await replay(view, shadow);
          const result: Rebuild = { events, rows: 0, differences: [] };
          for (const table of PROJECTION_TABLES) await compare(table, view, shadow, result);
          return result;
        });
      } finally {
        await sql`drop schema if exists ${sql.id(SHADOW)} cascade`.execute(lock);
        await sql`select pg_advisory_unlock(${REBUILD_LOCK})`.execute(lock);
      }
    });
  } finally {
    await Promise.all([live.destroy(), shadow.destroy()]);
  }
}

async function createCopies(db: Db): Promise<void> {
  await sql`drop schema if exists ${sql.id(SHADOW)} cascade`.execute(db);
  await sql`create schema ${sql.id(SHADOW)}`.execute(db);
  for (const table of PROJECTION_TABLES) {
    // Unlogged: a copy that a crash takes away is made again.
    await sql`create unlogged table ${sql.id(SHADOW, table)} (like ${sql.id(SCHEMA, table)} including all)`.execute(db);
  }
}

async function replay(view: Db, shadow: Db): Promise<number> {
  let count = 0;
  let after = { transaction_id: '0', global_position: 0 };
  for (;;) {
    // In a view that does not change every committed event is there at once, so no rule about running transactions is needed.
    const rows = await view
      .selectFrom('event')
      .selectAll()
      .where(
        sql<boolean>`(transaction_id, global_position) > (${after.transaction_id}::xid8, ${after.global_position}::bigint)`,
      )
      .orderBy('transaction_id')
      .orderBy('global_position')
      .limit(BATCH)
      .execute();
    const lanes = Map.groupBy(rows, ({ stream_id }) => laneOf(stream_id));
    await Promise.all([...lanes.values()].map((lane) => inTransaction(shadow, (trx) => applyInOrder(trx, lane))));
    count += rows.length;
    const last = rows.at(-1);
    if (last === undefined) return count;
    after = last;
  }
}

/** Always the same lane for a stream, so that its events stay in order. */
function laneOf(streamId: string): number {
  return createHash('md5').update(streamId).digest().readUInt32BE() % LANES;
}

async function applyInOrder(trx: Transaction<Database>, rows: readonly EventRow[]): Promise<void> {
  for (const row of rows) await project(trx, typedEvent(recordedEvent(row)));
}

interface Keyed {
  key: Record<string, unknown>;
  /** The key as text; both sides sort by it. */
  order: string;
  row: Record<string, unknown>;
  /** The row as Postgres writes it: equal text is equal to the last byte. */
  text: string;
}

async function compare(table: ProjectionTable, view: Db, shadow: Db, result: Rebuild): Promise<void> {
  const [live, rebuilt] = [rowsOf(view, table), rowsOf(shadow, table)];
  let [a, b] = [await next(live), await next(rebuilt)];
  while (a !== undefined || b !== undefined) {
    result.rows += 1;
    if (b === undefined || (a !== undefined && a.order < b.order)) {
      if (a !== undefined) result.differences.push({ table, key: a.key, live: a.row, rebuilt: undefined });
      a = await next(live);
    } else if (a === undefined || b.order < a.order) {
      result.differences.push({ table, key: b.key, live: undefined, rebuilt: b.row });
      b = await next(rebuilt);
    } else {
      if (a.text !== b.text) result.differences.push({ table, key: a.key, live: a.row, rebuilt: b.row });
      [a, b] = [await next(live), await next(rebuilt)];
    }
  }
}

async function next(rows: AsyncGenerator<Keyed>): Promise<Keyed | undefined> {
  const result = await rows.next();
  return result.done === true ? undefined : result.value;
}

const PRIMARY_KEYS: Record<ProjectionTable, readonly string[]> = {
  job: ['id'],
  job_step: ['job_id', 'step'],
  image: ['id'],
  image_part: ['image_id', 'part'],
  image_member: ['image_id', 'member_id'],
  quota: ['project_id', 'resource'],
  recycle_bin: ['project_id'],
  usage_record: ['id'],
};

/** All rows of a table by their key, in byte order (`collate "C"`), so that both sides come in the order in which JavaScript compares ASCII. */
async function* rowsOf(db: Db, table: ProjectionTable): AsyncGenerator<Keyed> {
  const columns = PRIMARY_KEYS[table];
  const order = sql`concat_ws(chr(10), ${sql.join(columns.map((column) => sql.ref(column)))}) collate "C"`;
  let after = '';
  for (;;) {
    const { rows } = await sql<{
      key: Record<string, unknown>;
      order: string;
      row: Record<string, unknown>;
      text: string;
    }>`
      select jsonb_build_object(${sql.join(columns.flatMap((column) => [sql.lit(column), sql.ref(column)]))}) as key,
        ${order} as order, to_jsonb(t) as row, t::text as text
      from ${sql.id(table)} t where ${order} > ${after} order by ${order} limit ${BATCH}`.execute(db);
    yield* rows;
    const last = rows.at(-1);
    if (last === undefined) return;
    after = last.order;
  }
}
