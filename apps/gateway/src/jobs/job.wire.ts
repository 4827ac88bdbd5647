import { IMAGE_CREATE_STEPS, type JobDocument } from '@ims/contract';
import type { JobView } from '@ims/db';
import { jobTime } from '../http/wire-time';

/**
 * What share of a job each step is, by the time it takes on a disk of some gigabytes: reading and writing it is most, reading it back
 * the rest, everything else moments. Steps not named here count like a moment.
 */
const WEIGHTS: Readonly<Record<string, number>> = { ingest: 70, verify: 20 };
const weightOf = (step: string): number => WEIGHTS[step] ?? 2;

// Two decimals: the documented samples have one, a progress bar needs the second.
const round = (share: number): number => Math.floor(share * 100) / 100;

/**
 * Share of the job that is done, 0 to 1, never going back: a completed step counts for good, also when it was undone later, and within a
 * step bytes done never shrink. 1 is said by success alone.
 */
export function processPercent({ job, steps, progress }: JobView): number {
  if (job.outcome === 'succeeded') return 1;
  const completed = new Set(steps.filter(({ completed_at }) => completed_at !== null).map(({ step }) => step));
  const names = job.steps.length > 0 ? job.steps : [...IMAGE_CREATE_STEPS];
  const total = names.reduce((sum, step) => sum + weightOf(step), 0);
  const done = names.reduce((sum, step) => {
    if (completed.has(step)) return sum + weightOf(step);
    if (progress?.step !== step || progress.bytes_total <= 0) return sum;
    return sum + weightOf(step) * Math.min(1, progress.bytes_done / progress.bytes_total);
  }, 0);
  // All steps may be completed a moment before the job is.
  return Math.min(0.99, round(done / total));
}

/** Names of tasks in the documented samples, by job type (ims-api 10.3). */
const TASKS: Readonly<Record<string, string>> = { imsImportImageJob: 'ImportImageTask' };

function currentTask({ job, steps }: JobView): string {
  const task = TASKS[job.type] ?? 'ImageTask';
  const completed = new Set(steps.filter(({ completed_at }) => completed_at !== null).map(({ step }) => step));
  const step = job.current_step ?? job.steps.find((name) => !completed.has(name));
  return job.outcome !== null || step === undefined ? task : `${task}:${step}`;
}

/** A job as ims-api 10.2 and 10.3 have it. The image's id is named as soon as the image can be seen, and no longer when the job has failed. */
export function toJobDocument(view: JobView, temporalUrl: string | undefined): JobDocument {
  const { job } = view;
  const isFailed = job.status === 'FAIL';
  // Clients read both without a check once a job has failed (ims-api 10.2).
  const errorCode = job.error_code ?? 'IMG.0061';
  const failReason = job.fail_reason ?? job.cancel_reason ?? 'the job failed';
  return {
    status: job.status,
    job_id: job.id,
    job_type: job.type,
    begin_time: jobTime(job.begin_at),
    end_time: jobTime(job.end_at),
    error_code: isFailed ? errorCode : null,
    fail_reason: isFailed ? failReason : null,
    entities: {
      ...(job.image_id === null || isFailed ? {} : { image_id: job.image_id }),
      image_name: job.image_name,
      process_percent: processPercent(view),
      current_task: currentTask(view),
      ...(isFailed ? { error_code: errorCode, error: failReason } : {}),
    },
    ...(temporalUrl === undefined ? {} : { temporal_url: temporalUrl }),
  };
}
