export { testDatabase, type TestDatabase } from './test-database';
export { testTemporal, workflowBundlePath } from './test-temporal';
export { mayMount, mountSmallDisk, unmountSmallDisk } from './small-disk';
export { temporaryDirectory } from './temporary-directory';
export { waitFor, type WaitOptions } from '@ims/embedded';
export {
  bootSector,
  convertDisk,
  COUNTER_SECTOR,
  DISK_VARIANTS,
  isoLikeFile,
  makeBootableDebian,
  HALT,
  makeDebianLikeDisk,
  missingForDebian,
  sha256OfRaw,
  type DebianLikeDisk,
  type DebianLikeDiskOptions,
  type DiskVariant,
} from './disks';
export { describeSagaLaws, type Outcome, type SagaShape, type SagaUnderTest } from './saga-laws/describe-saga-laws';
export {
  crashAfter,
  failAfter,
  failBefore,
  type Fault,
  type FaultPlan,
  FaultyActivities,
  twice,
} from './saga-laws/faults';
export {
  backupImageSagaOf,
  batchSagaOf,
  cloudSagaOf,
  type ImportRequest,
  importSagaOf,
  serverImageSagaOf,
  TestCell,
  uploadSagaOf,
  volumeImageSagaOf,
  wholeServerSagaOf,
} from './test-cell';
export { aKey, copySagaOf, submitCopy } from './copy-sagas';
export { CloudSagas, type SubmittedCloudJob } from './cloud-sagas';
export {
  collectionSagaOf,
  deletionSagaOf,
  serverBackupSagaOf,
  stageBytes,
  submitCollection,
  submitDeletion,
  submitServerBackup,
} from './service-sagas';
export { exportedFile, exportSagaOf, submitExport } from './export-saga';
export { noise } from './disks/seeded-content';
export { KillablePostgres, KillableTemporal } from './killable-servers';
export { type EndedJob, type Part, TestStack, type TestStackOptions } from './test-stack';
export { jobViolations, type SystemParts, systemViolations } from './violations';
export { Folds, rowStates, trailViolations } from './trail';
export { TestWebServer, type WebFileUnderTest, type WebHandler } from './test-web-server';
export { submitWebFile, webFileSagaOf } from './web-file-saga';
export { type Cut, CuttableLink } from './cuttable-link';
export { receiveSagaOf, replicationSagaOf, TestRegions } from './test-regions';
