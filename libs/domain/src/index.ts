export { type BackUpServerCommand, decideBackUpServer } from './backup/server-backup.decider';
export {
  backupChargeId,
  type Charge,
  closeCharge,
  imageChargeId,
  openBackupCharge,
  openImageCharge,
  openProductCharge,
  recordUsage,
  voidCharge,
} from './usage/charges';
export {
  type CatalogueChange,
  type CataloguedImage,
  decideCatalogue,
  type FreshIds,
  retireImage,
} from './catalogue/catalogue.decider';
export { decideMarketAction, type ListableImage, type MarketActionCommand } from './market/market-listing.decider';
export { checkListable } from './market/market-listing.rules';
export type { DomainEvent } from './domain-event';
export {
  batchSizeOf,
  type CreateBatchCommand,
  type CreateBatchDecision,
  dataDiskIdsOf,
  decideCreateBatch,
} from './image/image-batch.decider';
export {
  type CreateImageCommand,
  type CreateImageDecision,
  type CreateImageState,
  type SourceBackup,
  type SourceWholeServer,
  type SourceServer,
  type SourceVolume,
  decideCreateImage,
} from './image/image-create.decider';
export {
  CREATE_SCENARIOS,
  type CreateDoor,
  type CreateScenario,
  scenarioOf,
  type WholeImageOrigin,
  wholeImageSourceOf,
  type VirtualEnvType,
  type WholeImageSource,
} from './image/image-create.rules';
export { diskOf } from './image/image-disk.rules';
export { type DeletableImage, type DeleteImageCommand, decideDeleteImage } from './image/image-delete.decider';
export {
  type BinImageCommand,
  type BinnedImage,
  decideBinImage,
  decidePurgeImage,
  decideRestoreImage,
  decideRetention,
  DEFAULT_RETENTION_DAYS,
  goesToBin,
  MOST_RETENTION_DAYS,
  retentionOf,
} from './image/image-bin.decider';
export {
  decideDeactivate,
  decideDeprecate,
  decideEndDeprecation,
  decideHold,
  decideReactivate,
  decideReinstate,
  decideReleaseHold,
  decideRevoke,
  type StateCommand,
  type StatefulImage,
} from './image/image-state.decider';
export { evolveRecycleBin, type RecycleBinState } from './trail/recycle-bin.evolver';
export { decideExportImage, type ExportImageCommand } from './image/image-export.decider';
export {
  checkExportBucket,
  checkExportSize,
  DEFAULT_EXPORT_SETTINGS,
  type ExportableImage,
  type ExportSettings,
  LARGEST_EXPORT_BYTES,
  parseBucketUrl,
} from './image/image-export.rules';
export {
  bitmapOf,
  checkFileSize,
  checkKeptFormat,
  checkQuickFormat,
  maxFileBytes,
  minDiskCheck,
} from './image/image-inspected.rules';
export { type CreateMetadataCommand, decideCreateMetadata } from './image/image-metadata.decider';
export {
  checkIsWaiting,
  decideUpload,
  type UploadCommand,
  type UploadedFrom,
  type WaitingImage,
} from './image/image-upload.decider';
export {
  checkAgencyHere,
  decideReceiveImage,
  type ReceiveImageCommand,
  type ReceiveImageState,
  targetProjectOf,
} from './image/image-receive.decider';
export {
  type Agency,
  decideReplicateImage,
  DEFAULT_REPLICATION_LIMITS,
  type ReplicableImage,
  type ReplicateImageCommand,
  type ReplicateImageState,
  type ReplicationLimits,
} from './image/image-replicate.decider';
export { decideBeginUpload, decideEndUpload } from './image/upload-session.decider';
export { checkDescription, checkImageName } from './image/image-name';
export {
  type CopyableImage,
  type CopyImageCommand,
  type CopyImageState,
  decideCopyImage,
} from './image/image-copy.decider';
export { isEncrypted, keyOf } from './image/image-key.rules';
export { lineageFrom, type LineageParent } from './image/lineage';
export { decideTags, DEFAULT_MAX_TAGS, formatTag, MOST_TAGS, parseTag, splitTag } from './image/image-tags';
export {
  decideTagByWord,
  decideTagImage,
  decideUntagByWord,
  decideUntagImage,
  type TaggedImage,
} from './image/image-tag.decider';
export {
  decideUpdateImage,
  movesEnterpriseProject,
  type UpdatableImage,
  type UpdateImageCommand,
} from './image/image-update.decider';
export type { Dialect } from './image/image-owner.rules';
export {
  type AnsweringProject,
  decideAddMember,
  decideAnswerShare,
  decideAnswerShares,
  decideLeaveShare,
  decideRemoveMember,
  decideShareImages,
  decideUnshareImages,
  type MemberedImage,
} from './image/image-member.decider';
export { DEFAULT_SHARE_LIMITS, type ShareLimits, type ShareTarget } from './image/image-member.rules';
export { parseImageUrl } from './image/image-url';
export { type CancelJobCommand, type CancellableJob, decideCancelJob } from './job/job-cancel.decider';
export { decidePauseJob, decideResumeJob, type PausableJob } from './job/job-pause.decider';
export {
  type Architecture,
  canBootUefi,
  externalFileOsVersions,
  fallbackOsVersion,
  findAnyOsVersion,
  findOsVersion,
  osBitOf,
  type OsType,
  osTypeOf,
  type OsVersion,
  osVersions,
  platformOf,
} from './os/os-version';
export { type FlavorOffer, flavorOffer, isExcludedOnSeries, osNamesOnSeries } from './os/flavor-os.rules';
export { findSameRelease, OS_TAGS, osPlatforms, type OsPlatform, type OsTag } from './os/os-catalogue';
export { isSameRelease, type OsFamily, type OsRelease, readOsRelease } from './os/os-release';
export { osWarnings } from './os/os-warnings';
export { osSupport, type OsSupport, type SupportDate, type SupportState, supportWarning } from './os/support-plan';
export { checkQuota, decideSetLimit, DEFAULT_QUOTA, QUOTA_BOUNDS, type QuotaState } from './quota/quota.rules';
export {
  type CollectCommand,
  type CollectDecision,
  type CollectState,
  decideCollectStore,
} from './store/store-collect.decider';
export { findFlavor, type FlavorFilter, flavorFilter, type ServerFlavor } from './server/flavor';
export { checkNotRevoked, type ImageMisfit, misfitOf, type UsableImage } from './server/image-use.rules';
export {
  BOOT_CHECK_KEY,
  type CreateServersCommand,
  type CreateServersState,
  decideCreateServers,
} from './server/server-create.decider';
export {
  type CreateVolumesCommand,
  type CreateVolumesState,
  decideCreateVolumes,
  type DiskSource,
} from './server/volume-create.decider';
export {
  type ChangeableServer,
  type ChangeableVolume,
  type Decided,
  decideChangeOs,
  decideDeleteVolume,
  decideServersChange,
  requireServer,
} from './server/cloud-change.decider';
export { EvolutionError, type PastEvent } from './trail/evolve';
export { evolveImage, type ImagePartState, type ImageState } from './trail/image.evolver';
export { evolveJob, type JobState, type JobStepState } from './trail/job.evolver';
export { evolveQuota, type QuotaUseState } from './trail/quota.evolver';
