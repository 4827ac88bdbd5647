import { ImsError, type JobId, type ProjectId, jobStream } from '@ims/contract';
import type { DomainEvent } from '../domain-event';

export interface CancellableJob {
  id: JobId;
  projectId: ProjectId;
  /** What it does; a deletion cannot be called back. */
  saga: string;
  /** `null` while the job runs. */
  outcome: 'succeeded' | 'failed' | 'cancelled' | null;
  /** Set once cancellation was asked for. */
  cancelReason: string | null;
  /** Jobs that it is made of and that have not ended: they are cancelled with it. */
  parts?: readonly CancellableJob[];
}

export interface CancelJobCommand {
  /** Project of the caller. */
  projectId: ProjectId;
  /** Shown in the job and in the audit log. */
  reason: string;
}

const NOT_FOUND = 404;
export const CONFLICT = 409;
// As long as a description (ims-api 2.1): it is shown in the same places.
const MAX_REASON = 1024;

/**
 * The job, if it may be cancelled or paused by the caller's project; else an `ImsError`. An unknown job and another project's
 * are the same: IMG.0023 (404, ims-api 20 row 13). A job that has ended, a deletion, whose image is gone
 * whatever becomes of the rest, and a change of servers or disks, which nothing undoes: IMG.0105 (409). A reason that is too long: IMG.0001.
 */
export function checkCanBeInterrupted<Job extends CancellableJob>(
  job: Job | undefined,
  command: CancelJobCommand,
): Job {
  if (job === undefined || job.projectId !== command.projectId)
    throw new ImsError('IMG.0023', 'no such job', NOT_FOUND);
  if (job.outcome !== null) throw new ImsError('IMG.0105', `the job has ended already: ${job.outcome}`, CONFLICT);
  if (job.saga === 'image-delete') throw new ImsError('IMG.0105', 'a deletion cannot be called back', CONFLICT);
  if (job.saga === 'cloud-change')
    throw new ImsError('IMG.0105', 'a change of servers or disks cannot be called back', CONFLICT);
  if (command.reason.length > MAX_REASON)
    throw new ImsError('IMG.0001', `a reason has ${MAX_REASON} characters at most`);
  return job;
}

/** Decides on cancelling a job: the event of it and of its parts, none when it was asked for before, or an `ImsError` as `checkCanBeInterrupted`. */
export function decideCancelJob(
  asked: CancellableJob | undefined,
  command: CancelJobCommand,
): { events: DomainEvent[] } {
  const job = checkCanBeInterrupted(asked, command);
  const open = [job, ...(job.parts ?? [])].filter(({ cancelReason }) => cancelReason === null);
  return {
    events: open.map(({ id }) => ({
      type: 'job.cancel-requested',
      stream: jobStream(id),
      key: 'cancel-requested',
      data: { reason: command.reason },
    })),
  };
}
