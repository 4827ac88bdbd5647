/**
 * Where the time of day comes from. Everything that decides or records by time takes a `Clock`, so a test can set it;
 * this is the only file that reads the machine's clock.
 */
export interface Clock {
  /** The present moment. */
  now(): Date;
}

/** The machine's clock. */
export const systemClock: Clock = { now: () => new Date() };

/** A clock that stands still at `at` until it is moved; for tests and replays. */
export function fixedClock(at: Date): Clock & { set(at: Date): void } {
  let present = at;
  return {
    now: () => present,
    set: (next) => {
      present = next;
    },
  };
}
