/** Branded identifiers. A plain string is never passed where one of these is meant (style: ids are never concatenated at a call site). */
declare const brand: unique symbol;
export type Branded<T extends string> = string & { readonly [brand]: T };

export type JobId = Branded<'JobId'>;
export type ImageId = Branded<'ImageId'>;
export type ProjectId = Branded<'ProjectId'>;
export type DedupDomainId = Branded<'DedupDomainId'>;
/** `job:<id>`, `image:<id>`, … : the unit of ordering and of the hash chain. */
export type StreamId = Branded<'StreamId'>;

const HEX32 = /^[0-9a-f]{32}$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

function checked<T extends string>(kind: T, pattern: RegExp, text: string): Branded<T> {
  if (!pattern.test(text)) throw new TypeError(`${kind}: ${JSON.stringify(text)} is malformed`);
  // The pattern has just been tested; this is the one door through which text becomes an id.
  return text as Branded<T>;
}

/** Job id: 32 lower-case hex digits (ims-api 2.1). */
export const jobId = (text: string): JobId => checked('JobId', HEX32, text);
/** Image id: lower-case UUID with hyphens (ims-api 2.1). */
export const imageId = (text: string): ImageId => checked('ImageId', UUID, text);
/** Project id: 32 lower-case hex digits (ims-api 2.1). */
export const projectId = (text: string): ProjectId => checked('ProjectId', HEX32, text);
/** The service itself as the owner of its own jobs (collection); no account has it, so no tenant sees them. */
export const SERVICE_PROJECT: ProjectId = projectId('0'.repeat(32));
/** Owner of the public images, and the one who approves what comes to the marketplace (ims-api 2.2); the same in every region. */
export const PLATFORM_PROJECT: ProjectId = projectId(`${'0'.repeat(31)}1`);
export const dedupDomainId = (text: string): DedupDomainId => checked('DedupDomainId', UUID, text);

export const isJobId = (text: string): text is JobId => HEX32.test(text);
export const isImageId = (text: string): text is ImageId => UUID.test(text);
export const isProjectId = (text: string): text is ProjectId => HEX32.test(text);

// Built only from ids, which were checked when they were made.
const stream = (text: string): StreamId => text as StreamId;

export const jobStream = (id: JobId): StreamId => stream(`job:${id}`);
export const imageStream = (id: ImageId): StreamId => stream(`image:${id}`);
/** One stream per project and quota resource: its head row serialises reservations, which makes the quota race safe (CRE-23). */
export const quotaStream = (project: ProjectId, resource: QuotaResource): StreamId =>
  stream(`quota:${project}:${resource}`);
/** What a project has chosen about its recycle bin. */
export const recycleBinStream = (project: ProjectId): StreamId => stream(`recycle-bin:${project}`);
/** Calls that changed nothing, of which one project's trail tells. */
export const refusedCallsStream = (project: ProjectId): StreamId => stream(`calls:${project}`);
/** What a project has said to an image that somebody else shares: a fact of its own trail, beside the one in the image's. */
export const shareStream = (image: ImageId, project: ProjectId): StreamId => stream(`share:${image}:${project}`);
export const usageStream = (id: ImageId): StreamId => stream(`usage:${id}`);
/** A backup is charged once, whatever images are made from it: the stream is the backup's (BIL-03). */
export const backupUsageStream = (backupId: string): StreamId => stream(`usage:backup:${backupId}`);

/** Quota resources of ims-api 11; `create_task` is the 40 concurrent create tasks of CRE-24. */
export const QUOTA_RESOURCES = ['image', 'create_task'] as const;
export type QuotaResource = (typeof QUOTA_RESOURCES)[number];

/** A job's workflow has the job's own id, so a second start of the same job is refused by the engine. */
export const jobWorkflowId = (id: JobId): string => id;
/** A job takes one snapshot of its source; named after the job, it is the same one however often the step runs. */
export const jobSnapshotId = (id: JobId): string => `ims-${id}`;
export const imageDigestWorkflowId = (id: ImageId): string => `image-digest-${id}`;
/** Key of a step's event inside its job stream. Survives reset, retry and restart because it names neither run nor attempt. */
export const stepKey = (step: string): string => `step:${step}`;
export const undoKey = (step: string): string => `undo:${step}`;
/**
 * Key of something that a job does to its image. An image that a job makes has it once; one that was there before has it once for each job that
 * tried to bring its bytes.
 */
export const imageKeyOf = (what: string, job: { jobId: string; existing?: boolean }): string =>
  job.existing === true ? `${what}:${job.jobId}` : what;

/** An image has any number of uploads, one after the other; each begins and ends once. */
export const uploadBegunKey = (uploadId: string): string => `uploading:${uploadId}`;
export const uploadEndedKey = (uploadId: string): string => `requeued:${uploadId}`;
/** The staged file into which a job fetches; named after the job, it is the same one however often the step runs. */
export const fetchedFileId = (id: JobId): string => `web-${id}`;

/** Only one terminal event fits into a job stream: they all share this key. */
export const TERMINAL_KEY = 'terminal';

/** Failure types that steps and sagas agree on, beside the public error codes. */
export const FAILURE_TYPES = {
  /** The step found its job cancelled before it began. */
  jobCancelled: 'JobCancelled',
  /** The step belongs to an execution that has been replaced: it may not commit anything. */
  staleEpoch: 'StaleEpoch',
} as const;
