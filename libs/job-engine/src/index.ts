export { checkJobs, type Disagreement } from './checker';
export { freshJobId } from './fresh-job-id';
export { type EngineLog, JobStarter } from './job-starter';
export { engineTasks, Maintenance, type MaintenanceTask } from './maintenance';
export { imageBatchWorkflow, imageCreateWorkflow, type JobWorkflow, jobOutbox, type OutboxRow } from './outbox';
export { cloudQueue, controlQueue, fetchQueue, transferQueue } from './queues';
export { Reconciler } from './reconciler';
export { type CollectionParts, StoreCollection } from './store-collection';
export { Temporal, type TemporalAddress } from './temporal';
