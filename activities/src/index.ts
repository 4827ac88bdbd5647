import { createBackupActivities } from './backup/backup.activities';
import { createBatchActivities } from './batch/batch.activities';
import { createCheckpointActivities } from './backup/checkpoint.activities';
import { createServerBackupActivities } from './backup/server-backup.activities';
import { createBillingActivities } from './billing/billing.activities';
import { createCatalogActivities } from './catalog/catalog.activities';
import { createBootCheckActivities } from './compute/boot-check.activities';
import { createCloudChangeActivities } from './compute/cloud-change.activities';
import { createImageUseActivities } from './compute/image-use.activities';
import { createServerActivities } from './compute/server.activities';
import { createVolumeActivities } from './compute/volume.activities';
import { createCopyActivities } from './copy/copy.activities';
import { createConversionActivities } from './conversion/conversion.activities';
import { createDeriveActivities } from './derive/derive-disk.activities';
import { createExportActivities } from './export/image-export.activities';
import { createFetchActivities } from './fetch/fetch.activities';
import { createSnapshotActivities } from './snapshot/snapshot.activities';
import { createDeletionActivities } from './deletion/deletion.activities';
import { createCollectionActivities } from './collection/collection.activities';
import { createReceiveActivities } from './replication/receive.activities';
import { createReplicateActivities } from './replication/replicate.activities';
import { createStorageActivities } from './storage/storage.activities';
import type { ActivityPorts } from './step/ports';

export { LostCharges } from './billing/lost-charges';
export type { DeriveDiskInput } from './derive/derive-disk.activities';
export { type ActivityPorts, INSPECTION_TIMES, type InspectionTime } from './step/ports';

/** All activities of all sagas, ready for a worker. */
export function createActivities(ports: ActivityPorts) {
  return {
    ...createCopyActivities(ports),
    ...createConversionActivities(ports),
    ...createDeriveActivities(ports),
    ...createExportActivities(ports),
    ...createFetchActivities(ports),
    ...createSnapshotActivities(ports),
    ...createBackupActivities(ports),
    ...createCheckpointActivities(ports),
    ...createServerBackupActivities(ports),
    ...createStorageActivities(ports),
    ...createReplicateActivities(ports),
    ...createReceiveActivities(ports),
    ...createCatalogActivities(ports),
    ...createBillingActivities(ports),
    ...createDeletionActivities(ports),
    ...createCollectionActivities(ports),
    ...createBatchActivities(ports),
    ...createImageUseActivities(ports),
    ...createVolumeActivities(ports),
    ...createServerActivities(ports),
    ...createCloudChangeActivities(ports),
    ...createBootCheckActivities(ports),
  };
}

export type ImsActivities = ReturnType<typeof createActivities>;
