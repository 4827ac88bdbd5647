export { fixedClock, systemClock } from './clock';
export type { Clock } from './clock';
export { connect, SCHEMA } from './connect';
export type { ConnectOptions } from './connect';
export type { Database } from './db-types';
export { inSnapshot, inTransaction, sqlState } from './in-transaction';
export { migrateToLatest } from './migrate';
export { project, ProjectionError } from './projections/project';
export type { ProjectedEvent } from './projections/project';
export { OTHER_TABLES, PROJECTION_TABLES } from './projections/table-kinds';
export type { ProjectionTable } from './projections/table-kinds';
export { IMAGE_ATTRIBUTE_DEFAULTS, ImagesRepository, MarkerNotFoundError } from './repositories/images.repository';
export type {
  ImageFilter,
  ImageListRequest,
  ImagePartRow,
  ImageRow,
  ImageSight,
  ImageSort,
  SeenImage,
  TimeCondition,
} from './repositories/images.repository';
export { type ImageMemberRow, ImageMembersRepository } from './repositories/image-members.repository';
export { ExportsRepository, type ExportedPart, type ExportUploadRow } from './repositories/exports.repository';
export { ClaimLostError, IdempotencyRepository } from './repositories/idempotency.repository';
export type {
  ClaimOutcome,
  ClaimRequest,
  ClaimTimes,
  IdempotencyClaim,
  KeptAnswer,
} from './repositories/idempotency.repository';
export { ImageTagsRepository, type ImageTagSearch, type TagCondition } from './repositories/image-tags.repository';
export {
  ImageLineageRepository,
  LINE_BOUNDS,
  type LineMember,
  type Replica,
} from './repositories/image-lineage.repository';
export { RecycleBinRepository } from './repositories/recycle-bin.repository';
export { JobsRepository } from './repositories/jobs.repository';
export type { JobProgressRow, JobRow, JobStepRow, JobView } from './repositories/jobs.repository';
export { OutboxRepository } from './repositories/outbox.repository';
export type { OutboxRow } from './repositories/outbox.repository';
export { type AttemptNote, ProgressRepository } from './repositories/progress.repository';
export { QuotaRepository } from './repositories/quota.repository';
export type { QuotaState } from './repositories/quota.repository';
export { StepAttemptsRepository } from './repositories/step-attempts.repository';
export type { StepAttemptRow } from './repositories/step-attempts.repository';
export { chargeOf, UsageRepository } from './repositories/usage.repository';
export type { UsagePageRequest, UsagePlace, UsageRow } from './repositories/usage.repository';
