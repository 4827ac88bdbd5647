import { EVENTS } from '@ims/contract';
import type { Database } from '@ims/db';
import { type Kysely, type Selectable, sql } from 'kysely';
import type { RecordedEvent } from '../event-log.port';
import type { TracedJob } from './trace-of';

/** A job on the way to being told of: what a step makes is added as its event is met. */
type Growing = TracedJob & { serverIds: string[]; volumeIds: string[] };

const ENDS: ReadonlySet<string> = new Set(['job.succeeded', 'job.failed', 'job.cancelled']);
// Steps whose output names servers or disks; of no other is the output needed.
const MAKING_STEPS: ReadonlySet<string> = new Set(['create-servers', 'create-volumes', 'change']);

/** The job whose stream an event is in, else the one that it was recorded for. */
export const jobOf = ({ streamId, jobId }: Pick<RecordedEvent, 'streamId' | 'jobId'>): string | null =>
  streamId.startsWith('job:') ? streamId.slice('job:'.length) : jobId;

/**
 * The jobs that some events belong to, as their own streams tell of them: how each was accepted, and for those that end among the events what
 * their steps made. Depends on nothing but the log, so that traces made again are the same. Uses the index `event_stream`.
 */
export async function tracedJobs(
  db: Kysely<Database>,
  events: readonly RecordedEvent[],
): Promise<Map<string, TracedJob>> {
  const ids = new Set(events.flatMap((event) => jobOf(event) ?? []));
  const ended = new Set(events.flatMap((event) => (ENDS.has(event.type) ? (jobOf(event) ?? []) : [])));
  const jobs = new Map<string, Growing>();
  if (ids.size === 0) return jobs;
  const rows = await db
    .selectFrom('event')
    .select(['stream_id', 'type', 'occurred_at', 'data'])
    .where(
      'stream_id',
      'in',
      [...ids].map((id) => `job:${id}`),
    )
    .where(
      sql<boolean>`(type = 'job.accepted' or type like '%.step-completed' and stream_id = any(${[...ended].map((id) => `job:${id}`)}::text[]))`,
    )
    .orderBy('stream_id')
    .orderBy('stream_position')
    .execute();
  for (const row of rows) read(jobs, row);
  return jobs;
}

type Row = Pick<Selectable<Database['event']>, 'stream_id' | 'type' | 'occurred_at' | 'data'>;

function read(jobs: Map<string, Growing>, { stream_id, type, occurred_at, data }: Row): void {
  const id = stream_id.slice('job:'.length);
  if (type === 'job.accepted') {
    const accepted = EVENTS['job.accepted'].parse(data);
    jobs.set(id, {
      id,
      jobType: accepted.jobType,
      saga: accepted.saga,
      imageId: accepted.imageId,
      imageName: accepted.imageName,
      request: accepted.request ?? null,
      isPart: accepted.parentJobId !== undefined,
      beginAt: occurred_at,
      serverIds: [],
      volumeIds: [],
    });
    return;
  }
  const job = jobs.get(id);
  const { step, output } = recordOf(data);
  if (job === undefined || typeof step !== 'string' || !MAKING_STEPS.has(step)) return;
  const made = recordOf(output);
  job.serverIds.push(...textsIn(made['serverIds']));
  job.volumeIds.push(...textsIn(made['volumeIds']));
}

const recordOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? { ...value } : {};

const textsIn = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((each: unknown): each is string => typeof each === 'string') : [];
