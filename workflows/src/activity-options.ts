import type { ActivityOptions } from '@temporalio/workflow';
import { ActivityCancellationType, workflowInfo } from '@temporalio/workflow';

/**
 * Transfers have a queue of their own, so that a flood of them cannot starve the short steps. The name is the workflow's own queue
 * with another suffix: one deployment setting names both.
 */
export const transferQueue = (): string => workflowInfo().taskQueue.replace(/\.control$/, '.transfer');

/** Fetches from the web wait for servers of strangers; beside transfers they would keep everybody else from storing anything. */
export const fetchQueue = (): string => workflowInfo().taskQueue.replace(/\.control$/, '.fetch');

/** What touches servers and their disks: only the one worker that owns the embedded cloud takes from it (libs/job-engine/src/queues.ts). */
export const cloudQueue = (): string => workflowInfo().taskQueue.replace(/\.control$/, '.cloud');

// Attempts are not limited here: a step decides itself what can never succeed (see activities/src/failure.ts), and an outage of
// Postgres or the store must not turn into failed jobs.
const retry = { initialInterval: '500ms', backoffCoefficient: 2, maximumInterval: '20s' } as const;

// An undo must never run beside the step it undoes: unwinding waits until the cancelled step has let go. Every step beats, so it hears of it.
const cancellationType = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED;

/** Rows and events: milliseconds. */
export const QUICK: ActivityOptions = { startToCloseTimeout: '30s', heartbeatTimeout: '12s', retry, cancellationType };

/**
 * Bytes: hours. The heartbeat timeout is what decides how soon a killed worker's step goes on elsewhere; the SDK throttles heartbeats
 * to 80 % of it, so a beat every few seconds is enough.
 */
export const TRANSFER: ActivityOptions = {
  startToCloseTimeout: '48h',
  heartbeatTimeout: '12s',
  retry,
  cancellationType,
};

/** Undo must come to an end whatever happens, so nothing but its success ends it. */
export const UNDO: ActivityOptions = { startToCloseTimeout: '10m', heartbeatTimeout: '12s', retry, cancellationType };

/** Servers start and stop in seconds, many of them one after the other; a check that one boots takes minutes. */
export const CLOUD: ActivityOptions = {
  startToCloseTimeout: '15m',
  heartbeatTimeout: '12s',
  retry,
  cancellationType,
};
