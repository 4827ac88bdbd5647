import { z } from 'zod';
import { isImageId, isJobId } from '../ids';
import { refusal } from './refusal';

/** Who did it, as a trace names them (cts-api 2.3). */
export const traceUser = z.object({
  id: z.string().nullable(),
  name: z.string().nullable(),
  user_name: z.string().nullable(),
  domain: z.object({ id: z.string(), name: z.string().nullable() }).nullable(),
  account_id: z.string().nullable(),
  access_key_id: z.string().nullable(),
  principal_urn: z.string().nullable(),
  principal_id: z.string().nullable(),
  /** A text for this one flag (cts-api 2.3). */
  principal_is_root_user: z.enum(['true', 'false']),
  type: z.string(),
  invoked_by: z.array(z.string()),
});
export type TraceUser = z.infer<typeof traceUser>;

export const TRACE_RATINGS = ['normal', 'warning', 'incident'] as const;

/** A trace (cts-api 2.3). Times are milliseconds; `request` and `response` are JSON texts. */
export const trace = z.object({
  trace_id: z.string(),
  trace_name: z.string(),
  trace_rating: z.enum(TRACE_RATINGS),
  trace_type: z.enum(['ApiCall', 'SystemAction']),
  time: z.number().int(),
  record_time: z.number().int(),
  service_type: z.string(),
  resource_type: z.string(),
  resource_name: z.string().nullable(),
  resource_id: z.string().nullable(),
  source_ip: z.string(),
  user: traceUser.nullable(),
  request: z.string().nullable(),
  response: z.string().nullable(),
  code: z.string().nullable(),
  api_version: z.string().nullable(),
  message: z.string().nullable(),
  request_id: z.string().nullable(),
  location_info: z.string().nullable(),
  endpoint: z.string().nullable(),
  resource_url: z.string().nullable(),
  enterprise_project_id: z.string().nullable(),
  resource_account_id: z.string().nullable(),
  read_only: z.boolean(),
  operation_id: z.string().nullable(),
  project_id: z.string(),
  tracker_name: z.string(),
});
export type Trace = z.infer<typeof trace>;

/** Answer of ListTraces (cts-api 2.3). */
export const tracesAnswer = z.object({
  traces: z.array(trace),
  meta_data: z.object({ count: z.number().int(), marker: z.string().nullable() }),
});
export type TracesAnswer = z.infer<typeof tracesAnswer>;

// The grammar of filters: ids have 350 characters at most, everything else fewer (cts-api 2.3, 4.3).
const MAX_VALUE = 350;
const refused = (field: string, what: string) => ({ error: refusal('CTS.0300', `${field} ${what}`) });

/** One value; of a repeated parameter the last one counts. Case and blanks are kept: filters match exactly. */
const one = (field: string) => {
  const value = z
    .string()
    .max(MAX_VALUE, refused(field, 'is too long'))
    .refine(
      (text) => !/[\u0000-\u001f\u007f]/.test(text) && text.isWellFormed(),
      refused(field, 'has control characters'),
    );
  return z.union([value, z.array(value).transform((all) => all.at(-1) ?? '')], refused(field, 'is malformed'));
};

const whole = (field: string, least: number, most: number) =>
  one(field).pipe(
    z
      .string()
      .regex(/^\d{1,16}$/, refused(field, 'must be a whole number'))
      .transform(Number)
      .pipe(
        z
          .number()
          .min(least, refused(field, `must be ${least} at least`))
          .max(most, refused(field, `must be ${most} at most`)),
      ),
  );

const oneOf = <const T extends readonly [string, ...string[]]>(field: string, values: T) =>
  one(field).pipe(z.enum(values, refused(field, `must be one of ${values.join(', ')}`)));

// Times have 13 digits (cts-api 2.1).
const MAX_TIME_MS = 9_999_999_999_999;
const DEFAULT_TRACES = 10;
const MAX_TRACES = 200;

/** A filter that is there and empty is none, as with clients that send every parameter they know. */
const filter = (field: string) =>
  one(field)
    .transform((text) => (text === '' ? undefined : text))
    .optional();

/** Query of ListTraces (cts-api 2.1). Unknown parameters are left out. */
export const listTracesQuery = z
  .object({
    trace_type: oneOf('trace_type', ['system', 'data']).default('system'),
    limit: whole('limit', 1, MAX_TRACES).default(DEFAULT_TRACES),
    from: whole('from', 0, MAX_TIME_MS).optional(),
    to: whole('to', 0, MAX_TIME_MS).optional(),
    next: filter('next'),
    tracker_name: filter('tracker_name'),
    service_type: filter('service_type'),
    user: filter('user'),
    resource_id: filter('resource_id'),
    resource_name: filter('resource_name'),
    resource_type: filter('resource_type'),
    trace_name: filter('trace_name'),
    trace_id: filter('trace_id'),
    trace_rating: oneOf('trace_rating', TRACE_RATINGS).optional(),
    access_key_id: filter('access_key_id'),
    enterprise_project_id: filter('enterprise_project_id'),
    /** Ours: the steps of jobs as well. */
    detail: oneOf('detail', ['steps']).optional(),
  })
  .refine(({ from, to }) => from === undefined || to === undefined || from <= to, refused('from', 'is after to'));
export type ListTracesQuery = z.infer<typeof listTracesQuery>;

/** An event of the trail (cts-api 8.5). */
export const trailEvent = z.object({
  log_index: z.number().int(),
  event_id: z.string(),
  stream_id: z.string(),
  stream_position: z.number().int(),
  type: z.string(),
  schema_version: z.number().int(),
  occurred_at: z.string(),
  sealed_at: z.string(),
  actor: z.record(z.string(), z.unknown()),
  job_id: z.string().nullable(),
  request_id: z.string().nullable(),
  step: z.string().nullable(),
  data: z.unknown(),
  /** SHA-256 over the hash of the event before it in its stream and the event itself, hexadecimal. */
  hash: z.string(),
});
export type TrailEvent = z.infer<typeof trailEvent>;

/** Answer of the replay (cts-api 8.5). `next_index` is where to go on, null at the end of what is sealed. */
export const trailEventsAnswer = z.object({
  events: z.array(trailEvent),
  next_index: z.number().int().nullable(),
});
export type TrailEventsAnswer = z.infer<typeof trailEventsAnswer>;

const jobId = one('job_id').refine(isJobId, refused('job_id', 'is malformed'));
const imageId = one('image_id').refine(isImageId, refused('image_id', 'is malformed'));
const index = (field: string) => whole(field, 0, Number.MAX_SAFE_INTEGER);

const DEFAULT_EVENTS = 100;
const MAX_EVENTS = 1000;

const eventFilter = {
  job_id: jobId.optional(),
  image_id: imageId.optional(),
  type: one('type').optional(),
  from_index: index('from_index').optional(),
};

/** Query of the replay (cts-api 8.5). */
export const listEventsQuery = z.object({
  ...eventFilter,
  limit: whole('limit', 1, MAX_EVENTS).default(DEFAULT_EVENTS),
});
export type ListEventsQuery = z.infer<typeof listEventsQuery>;

/** Query of the stream of events (cts-api 8.5). */
export const streamEventsQuery = z.object(eventFilter);
export type StreamEventsQuery = z.infer<typeof streamEventsQuery>;

const moment = one('at_time').transform((text, context): Date => {
  // A time of RFC 3339, or milliseconds as everywhere else in the audit trail.
  const at = /^\d{1,16}$/.test(text) ? new Date(Number(text)) : z.iso.datetime({ offset: true }).safeParse(text).data;
  const date = at instanceof Date ? at : new Date(at ?? Number.NaN);
  if (!(date.getTime() >= 0 && date.getTime() <= MAX_TIME_MS)) {
    context.addIssue({
      code: 'custom',
      message: refusal('CTS.0300', 'at_time must be a time of RFC 3339 or milliseconds'),
    });
    return z.NEVER;
  }
  return date;
});

/** Query of a state in the past: one subject, at one moment (cts-api 8.5). The newest state when no moment is named. */
export const trailStateQuery = z
  .object({
    job_id: jobId,
    image_id: imageId,
    quota: oneOf('quota', ['image', 'create_task']),
    at_index: index('at_index'),
    at_time: moment,
  })
  .partial()
  .refine(
    ({ job_id, image_id, quota }) => [job_id, image_id, quota].filter((each) => each !== undefined).length === 1,
    refused('the query', 'must name one of job_id, image_id and quota'),
  )
  .refine(
    ({ at_index, at_time }) => at_index === undefined || at_time === undefined,
    refused('the query', 'may have at_index or at_time, not both'),
  );
export type TrailStateQuery = z.infer<typeof trailStateQuery>;

/** Answer of a state in the past: the fold of `events_applied` events, the last of them at or before `at_index`. */
export const trailStateAnswer = z.object({
  at_index: z.number().int(),
  state: z.record(z.string(), z.unknown()),
  events_applied: z.number().int(),
});
export type TrailStateAnswer = z.infer<typeof trailStateAnswer>;
