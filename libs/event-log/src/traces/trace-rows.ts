import { connect, type Database, inTransaction, SCHEMA } from '@ims/db';
import { type Insertable, sql, type Transaction } from 'kysely';
import { readSealed, type SealedEvent } from '../sealing/read-sealed';
import { traceOf, type TracedJob } from './trace-of';
import { jobOf, tracedJobs } from './traced-jobs';

type TraceRow = Insertable<Database['trace']>;

/** The rows of `trace` that sealed events make: one for each that has a trace. */
export function tracesOf(events: readonly SealedEvent[], jobs: ReadonlyMap<string, TracedJob>): TraceRow[] {
  return events.flatMap((event) => {
    const made = traceOf(event, jobs.get(jobOf(event) ?? ''));
    if (made === undefined) return [];
    const { trace, isStep } = made;
    return {
      project_id: event.projectId,
      log_index: event.logIndex,
      trace_id: trace.trace_id,
      is_step: isStep,
      trace_name: trace.trace_name,
      trace_rating: trace.trace_rating,
      service_type: trace.service_type,
      resource_type: trace.resource_type,
      resource_id: trace.resource_id,
      resource_name: trace.resource_name,
      user_name: trace.user?.user_name ?? null,
      access_key_id: trace.user?.access_key_id ?? null,
      enterprise_project_id: trace.enterprise_project_id,
      document: JSON.stringify(trace),
    };
  });
}

export async function insertTraces(trx: Transaction<Database>, rows: TraceRow[]): Promise<void> {
  if (rows.length > 0) await trx.insertInto('trace').values(rows).execute();
}

// Any fixed number will do; the one of the sealer, which must not add traces meanwhile, is the sealer's own.
const BATCH = 500;

/**
 * Drops all traces and makes them again from the sealed events: the same ones, to the last byte (cts-api 9, check 6). Readers see the old list
 * until the new one is complete.
 *
 * @param ownerUrl connection of the role that owns the schema
 * @returns how many traces there are
 */
export async function rebuildTraces(ownerUrl: string): Promise<number> {
  const owner = connect(ownerUrl, { poolSize: 1, schema: SCHEMA });
  try {
    return await inTransaction(owner, async (trx) => {
      // Writers of traces wait, and with them nothing but the order of the newest events; readers do not.
      await sql`lock table trace in share row exclusive mode`.execute(trx);
      await trx.deleteFrom('trace').execute();
      const projects = await trx.selectFrom('event_seal').select('project_id').distinct().execute();
      let count = 0;
      for (const { project_id } of projects) count += await rebuildProject(trx, project_id);
      return count;
    });
  } finally {
    await owner.destroy();
  }
}

async function rebuildProject(trx: Transaction<Database>, projectId: string): Promise<number> {
  let count = 0;
  for (let fromIndex = 0; ;) {
    const events = await readSealed(trx, { projectId, fromIndex, limit: BATCH });
    const last = events.at(-1);
    if (last === undefined) return count;
    const rows = tracesOf(events, await tracedJobs(trx, events));
    await insertTraces(trx, rows);
    count += rows.length;
    fromIndex = last.logIndex + 1;
  }
}
