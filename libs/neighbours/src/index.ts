export type { BaseReferences, ImageDisk, ImageDiskRef, ImageDiskSource } from './disk-image.port';
export { CODE_OF_REFUSAL } from './refusal-codes';
export { NEIGHBOUR_REFUSALS, NeighbourError, type NeighbourRefusal } from './neighbour.errors';
export {
  QUIESCED_BY,
  STORAGE_POOLS,
  VOLUME_STATUSES,
  type ImagingDisk,
  type NewVolume,
  type QuiescedBy,
  type Snapshot,
  type StoragePool,
  type Volume,
  type VolumeAttachment,
  type VolumeOrigin,
  type VolumesPort,
  type VolumeStatus,
} from './volumes.port';
export {
  SERVER_STATUSES,
  type Architecture,
  type Flavor,
  type NewServer,
  type NewServerVolume,
  type Server,
  type ServerImage,
  type ServerKind,
  type ServersPort,
  type ServerStatus,
  type ServerVolume,
} from './servers.port';
export {
  BACKUP_STATUSES,
  VAULT_OBJECT_TYPES,
  VAULT_STATUSES,
  type Backup,
  type BackupsPort,
  type BackupStatus,
  type CheckpointRequest,
  type CopiedDisk,
  type Moment,
  type QuiescedDisk,
  type Checkpoint,
  type DiskBackup,
  type NewVault,
  type ReplicaRequest,
  type Vault,
  type VaultObjectType,
  type VaultStatus,
} from './backups.port';
export type { BootCheckPort, BootCheckRequest, BootCheckResult } from './boot-check.port';
export { openEmbeddedCloud, type EmbeddedCloud, type EmbeddedCloudOptions } from './embedded/embedded-cloud';
export { EmbeddedBackups } from './embedded/embedded-backups';
export { EmbeddedServers } from './embedded/embedded-servers';
export { EmbeddedVolumes } from './embedded/embedded-volumes';
export { ManifestHolds } from './disk/manifest-holds';
export { storedImages } from './disk/stored-images';
export { NbdExport, type ExportedDisk } from './nbd/nbd-export';
export { QemuBootCheck } from './qemu/boot-check';
export { type DiskToImage, dataDisksToImage, sourceVolumeOf, volumeToImage } from './source-disks';
export {
  backupGibOf,
  lookAtServerToBackUp,
  type ServerToBackUp,
  serverToBackUp,
  sourceWholeServerOf,
} from './whole-server';
export { backupToImage, claimBackup, freeBackup, sourceBackupOf } from './whole-backup';
export { changeableServerOf, sourceServerOf, systemDiskToImage } from './system-disk';
export { checkImageFits } from './server-rules';
export { findUsableImage, type StoredDisk } from './image-use';
export { findReplicableImage, type FoundReplicable, offeredBackupOf } from './replicable-image';
export { derivedId } from './records';
export { whyNoMachine } from './qemu/qemu-machine';
export {
  checkpointRefusalOf,
  refuseBackupDeletion,
  refuseDataDiskImages,
  refuseSystemDiskImage,
  refuseVolumeImage,
  refuseWholeImageOfBackup,
  refuseWholeImageOfServer,
  type ImagingRefusal,
} from './imaging-rules';
