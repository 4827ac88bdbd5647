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
const CONFLICT = 409;
// As long as a description (ims-api 2.1): it is shown in the same places.
const MAX_REASON = 1024;

/**
 * Decides on cancelling a job: the event, none when it was asked for before, or an `ImsError`. An unknown job and another project's
 * are the same: IMG.0023 (404, ims-api 20 row 13). A job that has ended, a deletion, whose image is gone
 * whatever becomes of the rest, and a change of servers or disks, which nothing undoes: IMG.0105 (409). A reason that is too long: IMG.0001.
 */
export function decideCancelJob(job: CancellableJob | undefined, command: CancelJobCommand): { events: DomainEvent[] } {
  if (job === undefined || job.projectId !== command.projectId)
    throw new ImsError('IMG.0023', 'no such job', NOT_FOUND);
  if (job.outcome !== null) throw new ImsError('IMG.0105', `the job has ended already: ${job.outcome}`, CONFLICT);
  if (job.saga === 'image-delete') throw new ImsError('IMG.0105', 'a deletion cannot be called back', CONFLICT);
  if (job.saga === 'cloud-change')
    throw new ImsError('IMG.0105', 'a change of servers or disks cannot be called back', CONFLICT);
  if (command.reason.length > MAX_REASON)
    throw new ImsError('IMG.0001', `a reason has ${MAX_REASON} characters at most`);
  const asked = [job, ...(job.parts ?? [])].filter(({ cancelReason }) => cancelReason === null);
  return {
    events: asked.map(({ id }) => ({
      type: 'job.cancel-requested',
      stream: jobStream(id),
      key: 'cancel-requested',
      data: { reason: command.reason },
    })),
  };
}
