export { fixedClock, systemClock } from './clock';
export type { Clock } from './clock';
export { connect, SCHEMA } from './connect';
export type { ConnectOptions } from './connect';
export type { Database } from './db-types';
export { inTransaction, sqlState } from './in-transaction';
export { migrateToLatest } from './migrate';
