import { errorMessage } from './error-code';
import { setTimeout as pause } from 'node:timers/promises';

export interface WaitOptions {
  /** Gives up after this time. */
  deadlineMs: number;
  /** What is awaited, for the message of the failure. */
  what: string;
  /** Time between two looks; 50 ms when left out. */
  everyMs?: number;
}

/**
 * Looks again and again until `condition` yields something other than `false`, `null` or `undefined`, and returns that.
 * An error thrown by the condition counts as "not yet"; the last one is the cause when the deadline passes.
 *
 * @example await waitFor(async () => (await job()).status === 'SUCCESS', { deadlineMs: 10_000, what: 'job to succeed' });
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  options: WaitOptions,
): Promise<Exclude<Awaited<T>, false | null | undefined>> {
  const deadline = performance.now() + options.deadlineMs;
  let cause: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value !== false && value !== null && value !== undefined) {
        // The three excluded values were just ruled out; the compiler does not narrow a type parameter by comparison.
        return value as Exclude<Awaited<T>, false | null | undefined>;
      }
      cause = undefined;
    } catch (error) {
      if (error instanceof StopWaiting) throw error.cause;
      cause = error;
    }
    if (performance.now() >= deadline) {
      const last = cause === undefined ? '' : `; last error: ${errorMessage(cause)}`;
      throw new Error(`waited ${options.deadlineMs} ms for ${options.what}, in vain${last}`, { cause });
    }
    await pause(options.everyMs ?? 50);
  }
}

/** Thrown by a condition to end the waiting at once with its cause: what was awaited can no longer come. */
export class StopWaiting extends Error {
  override readonly name = 'StopWaiting';

  constructor(override readonly cause: unknown) {
    super('stop waiting', { cause });
  }
}
