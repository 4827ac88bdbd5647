/** Names of injected parts that are interfaces and so cannot name themselves at run time. */
export const CLOCK = Symbol('clock');
export const CLOUD = Symbol('cloud');
export const IMAGE_STORE = Symbol('image store');
export const LOGGER = Symbol('logger');
export const STAGED_FILES = Symbol('staged files');
export const BUCKETS = Symbol('buckets that exports go to');
export const KEYS = Symbol('keys');
export const JOBS = Symbol('jobs');
export const PEERS = Symbol('peers');
export const RATE_CARD = Symbol('rate card');
