import {
  changedMembers,
  type CloudSubJob,
  ERRORS,
  identifiedOs,
  IMAGE_CREATE_STEPS,
  isErrorCode,
  type JobDocument,
  type MemberResult,
  stepWeight,
  type SubJobResult,
} from '@ims/contract';
import type { JobView } from '@ims/db';
import { fallbackOsVersion, supportWarning } from '@ims/domain';
import { z } from 'zod';
import { jobTime } from '../http/wire-time';

// Two decimals: the documented samples have one, a progress bar needs the second.
const round = (share: number): number => Math.floor(share * 100) / 100;

/**
 * Share of the job that is done, 0 to 1, never going back: a completed step counts for good, also when it was undone later, and within a
 * step bytes done never shrink. 1 is said by success alone.
 */
export function processPercent({ job, steps, progress, subJobs }: JobView): number {
  if (job.outcome === 'succeeded') return 1;
  if (subJobs.length > 0) {
    // A part that has ended has nothing left to do, however it ended.
    const shares = subJobs.map((part) => (part.job.outcome === null ? processPercent({ ...part, subJobs: [] }) : 1));
    return Math.min(0.99, round(shares.reduce((sum, share) => sum + share, 0) / shares.length));
  }
  const completed = new Set(steps.filter(({ completed_at }) => completed_at !== null).map(({ step }) => step));
  const names = job.steps.length > 0 ? job.steps : [...IMAGE_CREATE_STEPS];
  const total = names.reduce((sum, step) => sum + stepWeight(step), 0);
  const done = names.reduce((sum, step) => {
    if (completed.has(step)) return sum + stepWeight(step);
    return progress?.step === step ? sum + stepWeight(step) * Math.min(1, progress.step_share) : sum;
  }, 0);
  // All steps may be completed a moment before the job is.
  return Math.min(0.99, round(done / total));
}

// Whoever watches a job that takes longer than was promised sees that it is about to end: what was said is not taken back.
const LEAST_ETA_S = 1;

// Reports come once a second while bytes move. The rate of a step that waits for a line, or whose worker has died, is that of another time.
const STOPPED_AFTER_MS = 30_000;

type Pace = Pick<JobDocument, 'bytes_done' | 'bytes_total' | 'bytes_per_second' | 'eta_seconds'>;

/** How far and how fast the step at work is, and when the job will be done, as far as that is known. */
function paceOf({ job, steps, progress }: Omit<JobView, 'subJobs'>, now: Date): Pace {
  if (job.outcome !== null || progress === undefined) return {};
  const isAtWork = steps.every(({ step, completed_at }) => step !== progress.step || completed_at === null);
  const isMoving = now.getTime() - progress.updated_at.getTime() < STOPPED_AFTER_MS;
  const rate = progress.bytes_per_second;
  return {
    ...(isAtWork ? { bytes_done: progress.bytes_done } : {}),
    // Of a file of the web that does not say how long it is nobody knows it.
    ...(isAtWork && progress.bytes_total > 0 ? { bytes_total: progress.bytes_total } : {}),
    ...(isAtWork && isMoving && job.paused_at === null && rate !== null ? { bytes_per_second: Math.round(rate) } : {}),
    ...(job.paused_at === null && job.cancel_reason === null && progress.eta_at !== null
      ? { eta_seconds: Math.max(LEAST_ETA_S, Math.ceil((progress.eta_at.getTime() - now.getTime()) / 1000)) }
      : {}),
  };
}

/** A job of several images takes as long as the slowest of them, which is known once all have come to their bytes; bytes are those of the parts. */
function paceOfParts({ job, subJobs }: JobView, now: Date): Pace {
  const open = subJobs.filter((part) => part.job.outcome === null).map((part) => paceOf(part, now));
  if (job.outcome !== null || open.length === 0) return {};
  const rates = open.flatMap(({ bytes_per_second: rate }) => (rate === undefined ? [] : [rate]));
  const etas = open.flatMap(({ eta_seconds: eta }) => (eta === undefined ? [] : [eta]));
  return {
    ...(rates.length === 0 ? {} : { bytes_per_second: rates.reduce((sum, rate) => sum + rate, 0) }),
    ...(etas.length < open.length ? {} : { eta_seconds: Math.max(...etas) }),
  };
}

/** Names of tasks in the documented samples, by job type (ims-api 10.3). */
const TASKS: Readonly<Record<string, string>> = {
  imsImportImageJob: 'ImportImageTask',
  imsNativeImportImageJob: 'ImportImageTask',
  imsCrossRegionCopyImageJob: 'CopyImageCrossRegionTask',
};

/** Jobs whose documents name the image by its id alone (ims-api 10.4). */
const WITHOUT_NAME: ReadonlySet<string> = new Set(['imsNativeImportImageJob', 'imsNativeExportImageJob']);

function currentTask({ job, steps }: JobView): string {
  const task = TASKS[job.type] ?? 'ImageTask';
  const completed = new Set(steps.filter(({ completed_at }) => completed_at !== null).map(({ step }) => step));
  const step = job.current_step ?? job.steps.find((name) => !completed.has(name));
  return job.outcome !== null || step === undefined ? task : `${task}:${step}`;
}

/** What a job and a part of one have in common (ims-api 10.2). */
function headOf(job: JobView['job']) {
  const isFailed = job.status === 'FAIL';
  return {
    status: job.status,
    job_id: job.id,
    job_type: job.type,
    begin_time: jobTime(job.begin_at),
    end_time: jobTime(job.end_at),
    // Clients read both without a check once a job has failed (ims-api 10.2).
    error_code: isFailed ? (job.error_code ?? 'IMG.0061') : null,
    fail_reason: isFailed ? (job.fail_reason ?? job.cancel_reason ?? 'the job failed') : null,
  };
}

/** The image's id is named as soon as the image can be seen, and no longer when the job has failed. */
const imageOf = (job: JobView['job']) => ({
  ...(job.image_id === null || job.status === 'FAIL' ? {} : { image_id: job.image_id }),
  ...(WITHOUT_NAME.has(job.type) ? {} : { image_name: job.image_name }),
});

const toSubJob = ({ job }: Pick<JobView, 'job'>): SubJobResult => ({ ...headOf(job), entities: imageOf(job) });

// Steps whose output names what the job made or changed.
const NAMES_SERVERS: readonly string[] = ['create-servers', 'change'];
const NAMES_VOLUMES: readonly string[] = ['create-volumes', 'change'];
const named = z.object({ serverIds: z.array(z.string()).default([]), volumeIds: z.array(z.string()).default([]) });

const CLOUD_SAGAS: readonly string[] = ['server-create', 'volume-create', 'cloud-change'];

/** Entities of a job for servers or disks (backends E4, E5): one part for each, and the only one of its kind also at the top. */
function cloudEntitiesOf({ job, steps }: JobView): Partial<JobDocument['entities']> {
  const idsOf = (from: readonly string[], what: 'serverIds' | 'volumeIds'): string[] =>
    steps.flatMap(({ step, state, output }) =>
      from.includes(step) && state === 'completed' ? named.parse(output ?? {})[what] : [],
    );
  const serverIds = job.saga === 'volume-create' ? [] : idsOf(NAMES_SERVERS, 'serverIds');
  // The disks of servers are no parts of their own.
  const volumeIds = serverIds.length > 0 || job.saga === 'server-create' ? [] : idsOf(NAMES_VOLUMES, 'volumeIds');
  const entities = [...serverIds.map((id) => ({ server_id: id })), ...volumeIds.map((id) => ({ volume_id: id }))];
  const [only, ...others] = entities;
  return {
    ...(only !== undefined && others.length === 0 ? only : {}),
    sub_jobs_total: entities.length,
    sub_jobs: entities.map((each): CloudSubJob => ({ ...headOf(job), entities: each })),
  };
}

/** What a job has found out about the system that it brings in, in words for who asked for it (CRE-33, OS-01). */
function warningsOf({ steps }: JobView, now: Date): string[] {
  const found = steps.find(({ step, state }) => step === 'identify-os' && state === 'completed')?.output ?? null;
  if (found === null) return [];
  const { osVersion, osType, osBit, unknown } = identifiedOs.parse(found);
  const support = supportWarning(osVersion, now);
  const isFallback = osType !== 'Other' && osVersion === fallbackOsVersion(osType, osBit);
  return [
    ...(isFallback
      ? [`the system is in no table, registered as ${osVersion}: servers from it may fail, ask for support first`]
      : []),
    ...(support === undefined ? [] : [support]),
    ...unknown.map((line) => `could not be told: ${line}`),
  ];
}

const MEMBER_KEYS = { project: 'project_id', domain: 'domain_id', organization: 'organization_id' } as const;

/** Of a batch of shares: each image and target. Where shares end it is only what could not be done (ims-api 10.4). */
function memberResultsOf({ job, steps }: JobView): { results: MemberResult[] } {
  const outputs = steps.map(({ output }) => changedMembers.safeParse(output));
  const all = outputs.flatMap(({ data }) => data?.results ?? []);
  const told = job.type === 'imsDelImageMembersJob' ? all.filter(({ errorCode }) => errorCode !== null) : all;
  return {
    results: told.map(({ imageId, memberId, memberType, errorCode }) => ({
      image_id: imageId,
      [MEMBER_KEYS[memberType]]: memberId,
      status: errorCode === null ? ('success' as const) : ('fail' as const),
      ...(errorCode === null ? {} : { error_code: errorCode }),
      ...(errorCode !== null && isErrorCode(errorCode) ? { error_msg: ERRORS[errorCode].message } : {}),
    })),
  };
}

/** A job as ims-api 10.2 and 10.3 have it. A job of several images names them in its parts alone: clients look there when it names none itself. */
export function toJobDocument(
  view: JobView,
  { now, temporalUrl }: { now: Date; temporalUrl: string | undefined },
): JobDocument {
  const { job, subJobs } = view;
  const head = headOf(job);
  const warnings = warningsOf(view, now);
  return {
    ...head,
    entities: {
      ...(job.saga === 'member-change'
        ? memberResultsOf(view)
        : CLOUD_SAGAS.includes(job.saga)
          ? cloudEntitiesOf(view)
          : subJobs.length > 0
            ? {}
            : imageOf(job)),
      process_percent: processPercent(view),
      current_task: currentTask(view),
      ...(subJobs.length === 0
        ? {}
        : { sub_jobs_result: subJobs.map(toSubJob), sub_jobs_list: subJobs.map((part) => part.job.id) }),
      ...(head.error_code === null || head.fail_reason === null
        ? {}
        : { error_code: head.error_code, error: head.fail_reason }),
    },
    // Undoing does not wait.
    ...(job.paused_at === null || job.cancel_reason !== null
      ? {}
      : { paused: true as const, paused_at: jobTime(job.paused_at) }),
    ...(subJobs.length === 0 ? paceOf(view, now) : paceOfParts(view, now)),
    ...(warnings.length === 0 ? {} : { warnings }),
    ...(temporalUrl === undefined ? {} : { temporal_url: temporalUrl }),
  };
}
