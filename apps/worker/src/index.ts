export { readConfig, type WorkerConfig } from './config';
export { createLog, engineLogger } from './log';
export { type RunningWorker, startWorker } from './worker';
