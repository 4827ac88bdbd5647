import { ImsError, jobStream } from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { type CancelJobCommand, type CancellableJob, checkCanBeInterrupted, CONFLICT } from './job-cancel.decider';

export interface PausableJob extends CancellableJob {
  isPaused: boolean;
  /** How often it was paused so far. */
  pauses: number;
  /** Jobs that it is made of and that have not ended: they are paused and resumed with it. */
  parts?: readonly PausableJob[];
}

/**
 * Decides on pausing a job: the event of it and of those of its parts that run, none when all are paused, or an `ImsError` as for cancelling it:
 * a job that nobody can call back is not stopped half-way either. One that is being cancelled goes on undoing what it did: IMG.0105 (409).
 */
export function decidePauseJob(job: PausableJob | undefined, command: CancelJobCommand): { events: DomainEvent[] } {
  const known = checkCanBeInterrupted(job, command);
  if (known.cancelReason !== null) throw new ImsError('IMG.0105', 'the job is being cancelled', CONFLICT);
  return {
    events: withParts(known)
      .filter(({ isPaused, cancelReason }) => !isPaused && cancelReason === null)
      .map(({ id, pauses }) => ({
        type: 'job.paused',
        stream: jobStream(id),
        key: `paused:${pauses + 1}`,
        data: { reason: command.reason },
      })),
  };
}

/** Decides on resuming a job, and with it those of its parts that are paused. A job that runs is left as it is. */
export function decideResumeJob(job: PausableJob | undefined, command: CancelJobCommand): { events: DomainEvent[] } {
  return {
    events: withParts(checkCanBeInterrupted(job, command))
      .filter(({ isPaused }) => isPaused)
      .map(({ id, pauses }) => ({
        type: 'job.resumed',
        stream: jobStream(id),
        key: `resumed:${pauses}`,
        data: { reason: command.reason },
      })),
  };
}

const withParts = (job: PausableJob): PausableJob[] => [job, ...(job.parts ?? [])];
