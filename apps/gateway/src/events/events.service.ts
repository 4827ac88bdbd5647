import { Injectable } from '@nestjs/common';
import {
  imageId,
  imageStream,
  ImsError,
  jobId,
  jobStream,
  type ListEventsQuery,
  projectId,
  quotaStream,
  type StreamId,
  type TrailEvent,
  type TrailEventsAnswer,
  type TrailStateAnswer,
  type TrailStateQuery,
} from '@ims/contract';
import type { Database } from '@ims/db';
import { evolveImage, evolveJob, evolveQuota, type PastEvent } from '@ims/domain';
import { eachSealed, lastSealed, sealingTime, sealVisible, typedEvent } from '@ims/event-log';
import { Kysely } from 'kysely';
import type { Call } from '../access/permits';
import { toTrailEvent } from './event.wire';

// A moment for transactions under way to end; behind a long one the newest events are not listed yet.
export const SEALING_PATIENCE_MS = 1_000;
// A pass of the sealer that hangs may still be given this long (idle_in_transaction_session_timeout of our connections).
const LONGEST_PASS_MS = 60_000;
// What is made of one answer in memory; a page of larger events is shorter, and says where to go on.
const MAX_PAGE_BYTES = 4 * 1024 * 1024;
const NOT_FOUND = 404;
const notFound = (detail: string): ImsError => new ImsError('CTS.0300', detail, NOT_FOUND);

/** What happened, in the order in which it is shown outside, and what was so at any moment of the past (cts-api 8.5). */
@Injectable()
export class EventsService {
  constructor(private readonly db: Kysely<Database>) {}

  async list(caller: Call, query: ListEventsQuery): Promise<TrailEventsAnswer> {
    // What a caller has done and been answered for is in the next list, whether or not a worker runs.
    await sealVisible(this.db, SEALING_PATIENCE_MS);
    const { job_id, image_id, type, from_index, limit } = query;
    const filter = { jobId: job_id, imageId: image_id, type, fromIndex: from_index };
    const events: TrailEvent[] = [];
    let bytes = 0;
    // One more than asked for tells where to go on.
    for await (const event of eachSealed(this.db, { projectId: caller.projectId, ...filter, limit: limit + 1 })) {
      bytes += event.leaf.length;
      if (events.length === limit || (bytes > MAX_PAGE_BYTES && events.length > 0))
        return { events, next_index: event.logIndex };
      events.push(toTrailEvent(event));
    }
    return { events, next_index: null };
  }

  /**
   * A job, an image or a quota as it was: made of its events alone, no other table is read.
   *
   * @throws ImsError CTS.0300: 404 for a subject that the project did not have then and for an index that is not reached yet, 400 for a time
   * that is not past, since an answer about it would change
   */
  async state(caller: Call, query: TrailStateQuery): Promise<TrailStateAnswer> {
    const now = await sealingTime(this.db);
    const isComplete = await sealVisible(this.db, SEALING_PATIENCE_MS);
    const settled = isComplete ? now.getTime() : now.getTime() - LONGEST_PASS_MS;
    if (query.at_time !== undefined && query.at_time.getTime() >= settled)
      throw new ImsError(
        'CTS.0300',
        `at_time must be past: events up to ${new Date(settled).toISOString()} are settled`,
      );
    const newest = await lastSealed(this.db, caller.projectId, query.at_time);
    const atIndex = query.at_index ?? newest;
    if (atIndex === undefined || newest === undefined) throw notFound('nothing had happened yet');
    // Answers never change later, so there is none about what is still to come.
    if (atIndex > newest) throw notFound(`the newest event has the index ${newest}`);
    const { stream, evolve } = subjectOf(caller.projectId, query);
    let state: object | undefined;
    let count = 0;
    for await (const event of eachSealed(this.db, {
      projectId: caller.projectId,
      streamId: stream,
      toIndex: atIndex,
    })) {
      state = evolve(typedEvent(event));
      count += 1;
    }
    if (state === undefined) throw notFound(`${stream} did not exist then`);
    return { at_index: atIndex, state: { ...state }, events_applied: count };
  }
}

interface Subject {
  stream: StreamId;
  /** The state after one more event of the stream. */
  evolve(event: PastEvent): object | undefined;
}

function evolving<State extends object>(
  evolve: (before: State | undefined, event: PastEvent) => State | undefined,
): Subject['evolve'] {
  let state: State | undefined;
  return (event) => (state = evolve(state, event));
}

function subjectOf(project: string, { job_id, image_id, quota }: TrailStateQuery): Subject {
  if (job_id !== undefined) return { stream: jobStream(jobId(job_id)), evolve: evolving(evolveJob) };
  if (image_id !== undefined) return { stream: imageStream(imageId(image_id)), evolve: evolving(evolveImage) };
  if (quota !== undefined) return { stream: quotaStream(projectId(project), quota), evolve: evolving(evolveQuota) };
  throw new ImsError('CTS.0300', 'name one of job_id, image_id and quota');
}
