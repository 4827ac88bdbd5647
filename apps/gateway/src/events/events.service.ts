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
  type TrailEventsAnswer,
  type TrailStateAnswer,
  type TrailStateQuery,
} from '@ims/contract';
import type { Database } from '@ims/db';
import { evolveImage, evolveJob, evolveQuota, type PastEvent } from '@ims/domain';
import { lastSealed, readSealed, sealVisible, typedEvent } from '@ims/event-log';
import { Kysely } from 'kysely';
import type { Call } from '../access/permits';
import { toTrailEvent } from './event.wire';

// A moment for transactions under way to end; behind a long one the newest events are not listed yet.
export const SEALING_PATIENCE_MS = 1_000;
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
    const events = await readSealed(this.db, {
      projectId: caller.projectId,
      jobId: job_id,
      imageId: image_id,
      type,
      fromIndex: from_index,
      // One more than asked for tells where to go on.
      limit: limit + 1,
    });
    return { events: events.slice(0, limit).map(toTrailEvent), next_index: events[limit]?.logIndex ?? null };
  }

  /**
   * A job, an image or a quota as it was: made of its events alone, no other table is read.
   *
   * @throws ImsError CTS.0300 (404) for a subject that the project did not have then, and for an index that is not reached yet
   */
  async state(caller: Call, query: TrailStateQuery): Promise<TrailStateAnswer> {
    await sealVisible(this.db, SEALING_PATIENCE_MS);
    const newest = await lastSealed(this.db, caller.projectId, query.at_time);
    const atIndex = query.at_index ?? newest;
    if (atIndex === undefined || newest === undefined) throw notFound('nothing had happened yet');
    // Answers never change later, so there is none about what is still to come.
    if (atIndex > newest) throw notFound(`the newest event has the index ${newest}`);
    const { stream, fold } = subjectOf(caller.projectId, query);
    const events = await readSealed(this.db, { projectId: caller.projectId, streamId: stream, toIndex: atIndex });
    const state = fold(events.map(typedEvent));
    if (state === undefined) throw notFound(`${stream} did not exist then`);
    return { at_index: atIndex, state: { ...state }, events_applied: events.length };
  }
}

interface Subject {
  stream: StreamId;
  /** What the events of the stream make, one after the other; `undefined` of none. */
  fold(events: readonly PastEvent[]): object | undefined;
}

const foldedBy =
  <State extends object>(evolve: (before: State | undefined, event: PastEvent) => State | undefined) =>
  (events: readonly PastEvent[]): State | undefined =>
    events.reduce<State | undefined>(evolve, undefined);

function subjectOf(project: string, { job_id, image_id, quota }: TrailStateQuery): Subject {
  if (job_id !== undefined) return { stream: jobStream(jobId(job_id)), fold: foldedBy(evolveJob) };
  if (image_id !== undefined) return { stream: imageStream(imageId(image_id)), fold: foldedBy(evolveImage) };
  if (quota !== undefined) return { stream: quotaStream(projectId(project), quota), fold: foldedBy(evolveQuota) };
  throw new ImsError('CTS.0300', 'name one of job_id, image_id and quota');
}
