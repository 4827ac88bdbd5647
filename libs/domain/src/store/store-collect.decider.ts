import { type JobId, SERVICE_PROJECT, STORE_COLLECT_STEPS, type StoreCollectInput } from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { jobAccepted } from '../job/job-accepted';

export interface CollectState {
  /** The last pass: when it was accepted, and how it ended (`null`: it is under way). */
  last: { acceptedAt: Date; outcome: 'succeeded' | 'failed' | 'cancelled' | null } | undefined;
  /** The store holds something that nobody needs any more. */
  isDue: boolean;
}

export interface CollectCommand {
  jobId: JobId;
  now: Date;
  /** Somebody asked for it: only a pass under way stands against it. */
  isByHand: boolean;
}

export interface CollectDecision {
  events: DomainEvent[];
  input: StoreCollectInput;
}

const MINUTE_MS = 60_000;
// Deletions come in bursts; one pass for all of them reads the index once.
const GAP_MS = 5 * MINUTE_MS;
// What made a pass fail (a damaged pack) is not over in a minute, and each try is a job in the log.
const GAP_AFTER_FAILURE_MS = 60 * MINUTE_MS;
// Without anything due a pass still compares disk and rows, so that a lost object is found within a working day.
const AUDIT_EVERY_MS = 6 * 60 * MINUTE_MS;

/**
 * Decides whether a pass of the collector begins now: the events of its acceptance and its input, or nothing. One at a time; at most one in five
 * minutes, so that its log stays small whatever tenants do (fault-matrix I4, C9).
 */
export function decideCollectStore(state: CollectState, command: CollectCommand): CollectDecision | undefined {
  if (state.last?.outcome === null) return undefined;
  if (!command.isByHand && !isTime(state, command.now)) return undefined;
  const { jobId } = command;
  return {
    events: [
      jobAccepted(jobId, {
        jobType: 'imsCollectStoreJob',
        saga: 'store-collect',
        imageId: null,
        imageName: '',
        request: { by: command.isByHand ? 'hand' : 'schedule' },
        steps: [...STORE_COLLECT_STEPS],
      }),
    ],
    input: { jobId, epoch: 1, projectId: SERVICE_PROJECT },
  };
}

function isTime({ last, isDue }: CollectState, now: Date): boolean {
  if (last === undefined) return true;
  const age = now.getTime() - last.acceptedAt.getTime();
  if (last.outcome === 'failed') return age >= GAP_AFTER_FAILURE_MS;
  return age >= (isDue ? GAP_MS : AUDIT_EVERY_MS);
}
