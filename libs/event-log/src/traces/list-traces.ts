import { type Trace, trace as traceSchema } from '@ims/contract';
import type { Database } from '@ims/db';
import type { Kysely } from 'kysely';

type Db = Kysely<Database>;

export interface TraceFilter {
  projectId: string;
  limit: number;
  /** Traces recorded after and before these moments, both excluded (cts-api 2.1). */
  after?: Date | undefined;
  before?: Date | undefined;
  /** Id of the last trace of the page before this one. */
  marker?: string | undefined;
  /** Steps of jobs as well. */
  withSteps?: boolean | undefined;
  serviceType?: string | undefined;
  resourceType?: string | undefined;
  resourceId?: string | undefined;
  resourceName?: string | undefined;
  traceName?: string | undefined;
  rating?: Trace['trace_rating'] | undefined;
  userName?: string | undefined;
  accessKeyId?: string | undefined;
  enterpriseProjectId?: string | undefined;
}

export interface TracePage {
  traces: Trace[];
  /** For the next page; `null` when there is none. */
  marker: string | null;
}

/** The marker is no trace of the project. */
export class TraceMarkerError extends Error {
  constructor(marker: string) {
    super(`list traces: ${JSON.stringify(marker.slice(0, 100))} is no trace of the project`);
    this.name = TraceMarkerError.name;
  }
}

/**
 * Traces of a project, newest first by `log_index` (cts-api 2.2): pages neither overlap nor leave anything out while new traces arrive, and what a
 * window in the past shows never changes. A window of time is a window of indexes (`event_seal_time`), and every filter has an index that ends
 * in `log_index`, so a page costs as much in an old trail as in a young one.
 *
 * @throws TraceMarkerError
 */
export async function listTraces(db: Db, filter: TraceFilter): Promise<TracePage> {
  const { projectId, limit } = filter;
  const window = await windowOf(db, filter);
  if (window === undefined) return { traces: [], marker: null };
  let query = db
    .selectFrom('trace')
    .select(['trace_id', 'document'])
    .where('project_id', '=', projectId)
    .where('log_index', '>=', window.from)
    .where('log_index', '<=', window.to)
    .orderBy('log_index', 'desc')
    // One more than asked for tells whether there is another page.
    .limit(limit + 1);
  if (filter.withSteps !== true) query = query.where('is_step', '=', false);
  const { serviceType, resourceType, resourceId, resourceName, traceName, rating } = filter;
  const { userName, accessKeyId, enterpriseProjectId } = filter;
  if (serviceType !== undefined) query = query.where('service_type', '=', serviceType);
  if (resourceType !== undefined) query = query.where('resource_type', '=', resourceType);
  if (resourceId !== undefined) query = query.where('resource_id', '=', resourceId);
  if (resourceName !== undefined) query = query.where('resource_name', '=', resourceName);
  if (traceName !== undefined) query = query.where('trace_name', '=', traceName);
  if (rating !== undefined) query = query.where('trace_rating', '=', rating);
  if (userName !== undefined) query = query.where('user_name', '=', userName);
  if (accessKeyId !== undefined) query = query.where('access_key_id', '=', accessKeyId);
  if (enterpriseProjectId !== undefined) query = query.where('enterprise_project_id', '=', enterpriseProjectId);
  const rows = await query.execute();
  const page = rows.slice(0, limit);
  return {
    traces: page.map(({ document }) => traceSchema.parse(document)),
    marker: rows.length > limit ? (page.at(-1)?.trace_id ?? null) : null,
  };
}

/** One trace, whatever else is asked for (cts-api 2.1). */
export async function findTrace(db: Db, projectId: string, traceId: string): Promise<Trace | undefined> {
  const row = await db
    .selectFrom('trace')
    .select('document')
    .where('project_id', '=', projectId)
    .where('trace_id', '=', traceId)
    .executeTakeFirst();
  return row === undefined ? undefined : traceSchema.parse(row.document);
}

/** The indexes that a window of time and a marker leave, `undefined` when there are none. */
async function windowOf(db: Db, filter: TraceFilter): Promise<{ from: number; to: number } | undefined> {
  const { projectId, after, before, marker } = filter;
  const bound = (side: 'first' | 'last', at: Date) =>
    db
      .selectFrom('event_seal')
      .select('log_index')
      .where('project_id', '=', projectId)
      .where('sealed_at', side === 'first' ? '>' : '<', at)
      .orderBy('sealed_at', side === 'first' ? 'asc' : 'desc')
      .orderBy('log_index', side === 'first' ? 'asc' : 'desc')
      .limit(1)
      .executeTakeFirst();
  // First of all: a marker that is none is refused, whatever the window.
  const end = marker === undefined ? undefined : await indexOf(db, projectId, marker);
  const first = after === undefined ? { log_index: 0 } : await bound('first', after);
  const last = before === undefined ? { log_index: Number.MAX_SAFE_INTEGER } : await bound('last', before);
  if (first === undefined || last === undefined) return undefined;
  return { from: first.log_index, to: end === undefined ? last.log_index : Math.min(last.log_index, end - 1) };
}

async function indexOf(db: Db, projectId: string, traceId: string): Promise<number> {
  const row = await db
    .selectFrom('trace')
    .select('log_index')
    .where('project_id', '=', projectId)
    .where('trace_id', '=', traceId)
    .executeTakeFirst();
  if (row === undefined) throw new TraceMarkerError(traceId);
  return row.log_index;
}
