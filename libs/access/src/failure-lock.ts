import type { Clock } from '@ims/db';

// Five failures in a row lock for five minutes (iam 6.4 step 7).
const FAILURES = 5;
const LOCK_MS = 5 * 60 * 1000;

/**
 * Counts failures in a row per key (an access key, a user) and locks it. Per process: each gateway of several counts for itself, so
 * a guesser gets at most that many times five tries. Only known keys are counted, which bounds the memory.
 */
export class FailureLock {
  private readonly entries = new Map<string, { failures: number; lockedUntilMs: number }>();

  constructor(private readonly clock: Clock) {}

  isLocked(key: string): boolean {
    const entry = this.entries.get(key);
    if (entry === undefined || entry.failures < FAILURES) return false;
    if (this.clock.now().getTime() < entry.lockedUntilMs) return true;
    this.entries.delete(key);
    return false;
  }

  recordFailure(key: string): void {
    const failures = (this.entries.get(key)?.failures ?? 0) + 1;
    this.entries.set(key, { failures, lockedUntilMs: this.clock.now().getTime() + LOCK_MS });
  }

  recordSuccess(key: string): void {
    this.entries.delete(key);
  }
}
