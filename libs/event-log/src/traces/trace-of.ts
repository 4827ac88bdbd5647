import type { Actor, EventType, SagaName, Trace, TraceUser } from '@ims/contract';
import { type RecordedEvent } from '../event-log.port';
import { canonical } from '../leaf';
import { traceIdOf } from './trace-id';
import { ims, nameWithin, native, type Operation, operationOf, operationOfCall } from './trace-names';

/** What of a job its traces repeat: how it was accepted, and what its steps made. */
export interface TracedJob {
  id: string;
  jobType: string;
  saga: string;
  imageId: string | null;
  imageName: string;
  request: unknown;
  isPart: boolean;
  beginAt: Date;
  /** Servers and disks that completed steps name, in their order. */
  serverIds: readonly string[];
  volumeIds: readonly string[];
}

/** What an event is to the list of traces. */
type Kind =
  /** Shown in the replay of the log alone: a companion of another event, or nothing that anybody did. */
  | 'none'
  /** A job was asked for. */
  | 'operation'
  /** What is to become of a job was asked for. */
  | { wish: 'cancel' | 'pause' | 'resume' }
  /** A job has ended. */
  | 'result'
  /** The engine lost a job, or somebody ended it there. */
  | 'external-change'
  /** A call that has changed nothing. */
  | 'refusal'
  /** A change of an image by a call, or by the service, without a job. Within a job it is the companion of a step. By its call where both dialects have one. */
  | { image: Operation; byCall?: true };

type StepEvent = `${SagaName}.step-completed` | `${SagaName}.step-undone`;

/** Of every type of event, whether it has a trace: exactly one or none (cts-api 8.1). The steps of all sagas have one each. */
const KINDS: Readonly<Record<Exclude<EventType, StepEvent>, Kind>> = {
  'job.accepted': 'operation',
  'job.started': 'none',
  'job.cancel-requested': { wish: 'cancel' },
  'job.paused': { wish: 'pause' },
  'job.resumed': { wish: 'resume' },
  'job.restarted': 'external-change',
  'job.succeeded': 'result',
  'job.failed': 'result',
  'job.cancelled': 'result',
  'call.refused': 'refusal',
  'image.queued': { image: native('createImage') },
  'image.uploading': { image: native('updateImage') },
  'image.saving': 'none',
  'image.published': 'none',
  'image.disk-derived': 'none',
  'image.requeued': { image: native('updateImage') },
  'image.withdrawn': 'none',
  'image.digested': 'none',
  'image.updated': { image: native('updateImage'), byCall: true },
  'image.tagged': { image: native('addTag') },
  'image.untagged': { image: native('deleteTag') },
  'image.catalogued': { image: native('updateImage') },
  'image.retired': { image: native('updateImage') },
  'image.listing-requested': { image: native('updateImage') },
  // Of the last approval the listing itself tells.
  'image.listing-approved': { image: native('updateImage') },
  'image.listed': 'none',
  'image.listing-refused': { image: native('updateImage') },
  'image.delisted': { image: native('updateImage') },
  'image.binned': { image: native('deleteImage') },
  'image.restored': { image: ims('restoreImage') },
  'image.held': { image: ims('holdImage') },
  'image.hold-released': { image: ims('releaseImage') },
  'image.deactivated': { image: native('deactivateImage') },
  'image.reactivated': { image: native('reactivateImage') },
  'image.deprecated': { image: ims('deprecateImage') },
  'image.deprecation-ended': { image: ims('undeprecateImage') },
  'image.revoked': { image: ims('revokeImage') },
  'image.reinstated': { image: ims('reinstateImage') },
  'image.deleted': { image: native('deleteImage') },
  'recycle-bin.retention-set': { image: ims('updateRecycleBin') },
  'quota.limit-set': { image: ims('updateQuota') },
  'image.member-added': { image: native('addMember') },
  // What others have said to an image is traced for them.
  'image.member-accepted': 'none',
  'image.member-rejected': 'none',
  'image.member-reopened': 'none',
  'image.member-removed': { image: native('deleteMember') },
  'image.member-left': 'none',
  'share.answered': { image: native('updateMember') },
  'share.left': { image: native('deleteMember') },
  'quota.reserved': 'none',
  'quota.settled': 'none',
  'quota.released': 'none',
  'usage.opened': 'none',
  'usage.recorded': 'none',
  'usage.voided': 'none',
  'usage.closed': 'none',
};

const isKnown = (type: string): type is keyof typeof KINDS => Object.hasOwn(KINDS, type);

type Step = { what: 'completed' | 'undone' };

/** @internal for the test that every type of event is decided on. */
export function kindOf(type: string): Kind | Step {
  if (type.endsWith('.step-completed')) return { what: 'completed' };
  if (type.endsWith('.step-undone')) return { what: 'undone' };
  return isKnown(type) ? KINDS[type] : 'none';
}

/** A trace, and whether it tells of a step: those are listed on demand alone. */
export interface TraceOfEvent {
  trace: Trace;
  isStep: boolean;
}

export type TracedEvent = Pick<
  RecordedEvent,
  'eventId' | 'streamId' | 'type' | 'occurredAt' | 'actor' | 'projectId' | 'jobId' | 'requestId' | 'data'
> & { sealedAt: Date };

/**
 * The trace of a sealed event, or `undefined` where it has none (cts-api 8.1). A function of the event, of when it was sealed, and of what
 * earlier events of the same job say; made again it is the same to the last byte.
 *
 * @param job the job whose stream the event is in, or that it was recorded for; `undefined` outside of jobs
 */
export function traceOf(event: TracedEvent, job: TracedJob | undefined): TraceOfEvent | undefined {
  const kind = kindOf(event.type);
  if (typeof kind === 'object' && 'image' in kind) {
    if (event.jobId !== null) return undefined;
    const data = fieldsOf(event.data);
    const called = kind.byCall === true ? operationOfCall(event.actor.call?.operation ?? '') : undefined;
    const trace = traceFor(event, called ?? kind.image, {
      resourceId: textIn(data, 'imageId') ?? event.streamId.replace(/^[a-z-]+:/, ''),
      resourceName: textIn(data, 'name') ?? textIn(data, 'imageName'),
      request: event.data,
    });
    return { trace, isStep: false };
  }
  if (kind === 'refusal') return refusalOf(event);
  if (kind === 'none' || job === undefined) return undefined;
  const operation = operationOf(job);
  const image = { resourceId: job.imageId, resourceName: job.imageName };
  const ofJob = {
    ...image,
    operationId: job.id,
    enterpriseProjectId: textIn(fieldsOf(job.request), 'enterprise_project_id'),
  };
  if (typeof kind === 'object' && 'wish' in kind) {
    // Asked for along with a whole, or by the reconciler, which has a trace of its own.
    if (event.jobId !== job.id || event.actor.kind === 'system') return undefined;
    return { trace: traceFor(event, { ...operation, name: nameWithin(operation, kind.wish) }, ofJob), isStep: false };
  }
  if (typeof kind === 'object') {
    const step = textIn(fieldsOf(event.data), 'step') ?? '';
    const name = nameWithin(operation, kind.what === 'completed' ? step : `undo-${step}`);
    return { trace: traceFor(event, { ...operation, name }, ofJob), isStep: true };
  }
  switch (kind) {
    case 'operation':
      // One call, one trace: the parts of a job come by the call that made it.
      if (job.isPart) return undefined;
      return {
        trace: traceFor(event, operation, { ...ofJob, request: job.request, response: { job_id: job.id } }),
        isStep: false,
      };
    case 'external-change': {
      const name = nameWithin(operation, 'external-change');
      const trace = traceFor(event, { ...operation, name }, { ...ofJob, rating: 'incident', response: event.data });
      return { trace, isStep: false };
    }
    case 'result':
      return { trace: resultOf(event, operation, job, ofJob), isStep: false };
    default:
      return kind satisfies never;
  }
}

/** The one record of a call that was refused, or has failed (cts-api 7). */
function refusalOf(event: TracedEvent): TraceOfEvent | undefined {
  const operation = operationOfCall(event.actor.call?.operation ?? '');
  if (operation === undefined) return undefined;
  const data = fieldsOf(event.data);
  const trace = traceFor(event, operation, {
    resourceId: textIn(data, 'resourceId'),
    resourceName: null,
    rating: 'warning',
    response: { error_code: textIn(data, 'errorCode'), error_msg: textIn(data, 'reason') },
  });
  return { trace, isStep: false };
}

/** The second record of an operation, by the service itself, with the job's result as its response (cts-api 2.4). */
function resultOf(event: TracedEvent, operation: Operation, job: TracedJob, ofJob: About): Trace {
  const isSuccess = event.type === 'job.succeeded';
  const data = fieldsOf(event.data);
  const imageId = (isSuccess ? textIn(data, 'imageId') : null) ?? job.imageId;
  const made = madeBy(job);
  const leftBehind = listIn(data, 'leftBehind');
  const response = {
    job_id: job.id,
    job_type: job.jobType,
    status: isSuccess ? 'SUCCESS' : 'FAIL',
    begin_time: job.beginAt.toISOString(),
    end_time: event.occurredAt.toISOString(),
    error_code: isSuccess ? null : (textIn(data, 'errorCode') ?? null),
    fail_reason: isSuccess ? null : (textIn(data, 'reason') ?? null),
    entities: isSuccess
      ? { ...(imageId === null ? {} : { image_id: imageId, image_name: job.imageName }), ...made }
      : {},
    ...(leftBehind.length === 0 ? {} : { left_behind: leftBehind }),
  };
  return traceFor(event, operation, {
    ...ofJob,
    resourceId: imageId ?? job.serverIds[0] ?? job.volumeIds[0] ?? null,
    // Grave is what nobody cleans up by itself (cts-api 8.1).
    rating: isSuccess ? 'normal' : leftBehind.length === 0 ? 'warning' : 'incident',
    response,
  });
}

function madeBy({ serverIds, volumeIds }: TracedJob): Record<string, string | readonly string[]> {
  const [server, ...moreServers] = serverIds;
  const [volume, ...moreVolumes] = volumeIds;
  return {
    ...(server === undefined ? {} : moreServers.length === 0 ? { server_id: server } : { server_ids: serverIds }),
    ...(volume === undefined ? {} : moreVolumes.length === 0 ? { volume_id: volume } : { volume_ids: volumeIds }),
  };
}

interface About {
  resourceId: string | null;
  resourceName: string | null;
  operationId?: string;
  enterpriseProjectId?: string | null;
  rating?: Trace['trace_rating'];
  request?: unknown;
  response?: unknown;
}

// cts-api 2.3: what filters can name is no longer than this.
const MAX_RESOURCE_NAME = 256;

function traceFor(event: TracedEvent, { name, serviceType, resourceType }: Operation, about: About): Trace {
  const { actor, projectId } = event;
  const isCall = actor.kind === 'user';
  return {
    trace_id: traceIdOf(event.eventId),
    trace_name: name,
    trace_rating: about.rating ?? 'normal',
    trace_type: isCall ? 'ApiCall' : 'SystemAction',
    time: event.occurredAt.getTime(),
    record_time: event.sealedAt.getTime(),
    service_type: serviceType,
    resource_type: resourceType,
    resource_name: about.resourceName?.slice(0, MAX_RESOURCE_NAME) ?? null,
    resource_id: about.resourceId,
    source_ip: actor.sourceIp ?? '',
    user: isCall ? userOf(actor) : null,
    request: about.request === undefined ? null : canonical(about.request),
    response: about.response === undefined ? null : canonical(about.response),
    code: actor.call === undefined ? null : String(actor.call.status),
    api_version: actor.call?.apiVersion ?? null,
    message: null,
    request_id: isCall ? event.requestId : null,
    location_info: null,
    endpoint: null,
    resource_url: null,
    enterprise_project_id: about.enterpriseProjectId ?? null,
    resource_account_id: null,
    read_only: false,
    operation_id: about.operationId ?? null,
    project_id: projectId,
    tracker_name: 'system',
  };
}

/** cts-api 2.3. */
function userOf(actor: Actor): TraceUser {
  const { userId, userName, accountId, accountName, accessKeyId } = actor;
  return {
    id: userId ?? null,
    name: userName ?? null,
    user_name: userName ?? null,
    domain: accountId === undefined ? null : { id: accountId, name: accountName ?? null },
    account_id: accountId ?? null,
    access_key_id: accessKeyId ?? null,
    principal_urn: accountId === undefined || userName === undefined ? null : `iam::${accountId}:user:${userName}`,
    principal_id: userId ?? null,
    principal_is_root_user: 'false',
    type: 'User',
    invoked_by: [],
  };
}

function fieldsOf(data: unknown): Readonly<Record<string, unknown>> {
  return typeof data === 'object' && data !== null ? { ...data } : {};
}

function textIn(fields: Readonly<Record<string, unknown>>, name: string): string | null {
  const value = fields[name];
  return typeof value === 'string' ? value : null;
}

function listIn(fields: Readonly<Record<string, unknown>>, name: string): readonly unknown[] {
  const value = fields[name];
  return Array.isArray(value) ? value : [];
}
