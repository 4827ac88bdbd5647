import { Inject, Injectable } from '@nestjs/common';
import { ImsError, type ListTracesQuery, type Trace, type TracesAnswer } from '@ims/contract';
import type { Clock, Database } from '@ims/db';
import { findTrace, listTraces, sealVisible, TraceMarkerError } from '@ims/event-log';
import { Kysely } from 'kysely';
import type { Call } from '../access/permits';
import { SEALING_PATIENCE_MS } from '../events/events.service';
import { CLOCK } from '../http/injection-tokens';

// Without bounds the last hour is listed (cts-api 2.1).
const DEFAULT_WINDOW_MS = 3_600_000;
// The one tracker of what is done to the service itself (cts-api 2.1).
const TRACKER = 'system';
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

const answer = (traces: Trace[], marker: string | null): TracesAnswer => ({
  traces,
  meta_data: { count: traces.length, marker },
});

/** Who did what, as the vendor's audit service lists it (cts-api 2). */
@Injectable()
export class TracesService {
  constructor(
    private readonly db: Kysely<Database>,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** @throws ImsError CTS.0300 (400) for a marker that is no trace of the project */
  async list(caller: Call, query: ListTracesQuery): Promise<TracesAnswer> {
    const { projectId } = caller;
    // Objects in buckets are tracked by the services that keep them.
    if (query.trace_type === 'data') return answer([], null);
    await sealVisible(this.db, SEALING_PATIENCE_MS);
    // Before every other filter, none of which counts then (cts-api 2.1).
    if (query.trace_id !== undefined) {
      const trace = UUID.test(query.trace_id) ? await findTrace(this.db, projectId, query.trace_id) : undefined;
      return answer(trace === undefined ? [] : [trace], null);
    }
    if (query.tracker_name !== undefined && query.tracker_name !== TRACKER) return answer([], null);
    if (query.next !== undefined && !UUID.test(query.next)) throw unknownMarker();
    const from = query.from ?? (query.to ?? this.clock.now().getTime()) - DEFAULT_WINDOW_MS;
    try {
      const { traces, marker } = await listTraces(this.db, {
        projectId,
        limit: query.limit,
        after: new Date(from),
        // Without a bound, up to what was sealed for this very answer.
        before: query.to === undefined ? undefined : new Date(query.to),
        marker: query.next,
        withSteps: query.detail === 'steps',
        serviceType: query.service_type,
        resourceType: query.resource_type,
        resourceId: query.resource_id,
        resourceName: query.resource_name,
        traceName: query.trace_name,
        rating: query.trace_rating,
        userName: query.user,
        accessKeyId: query.access_key_id,
        enterpriseProjectId: query.enterprise_project_id,
      });
      return answer(traces, marker);
    } catch (error) {
      if (error instanceof TraceMarkerError) throw unknownMarker();
      throw error;
    }
  }
}

const unknownMarker = (): ImsError => new ImsError('CTS.0300', 'next is no marker of this list');
