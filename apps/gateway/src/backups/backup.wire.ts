import type { BackupDocument, CheckpointAnswer, CheckpointItemAnswer, VaultDocument } from '@ims/contract';
import type { Backup, DiskBackup, Vault } from '@ims/neighbours';
import { backupTime } from '../http/wire-time';

// Fixed ids by which the service tells backups of servers from those of disks (backends E1).
const SERVER_PROVIDER = '0daac4c5-6707-4851-97ba-169e36266b66';
const DISK_PROVIDER = 'd1603440-187d-4516-af25-121250c7cc97';
const BYTES_PER_GB = 2 ** 30;
const BYTES_PER_MB = 2 ** 20;
const SERVER = 'OS::Nova::Server';

/** A backup together with the image that was made from it, if that still lives. */
export interface ShownBackup {
  backup: Backup;
  imageId: string | null;
}

const imagesOf = (imageId: string | null) => (imageId === null ? [] : [{ image_id: imageId }]);
const isIncremental = ({ children }: Backup): boolean => children.some((child) => child.isIncremental);

/** A backup of a server as backends E1 has it. */
export function toBackup({ backup, imageId }: ShownBackup): BackupDocument {
  const createdAt = backupTime(backup.createdAt);
  return {
    id: backup.id,
    name: backup.name,
    description: '',
    status: backup.status,
    project_id: backup.projectId,
    vault_id: backup.vaultId ?? '',
    checkpoint_id: backup.checkpointId,
    provider_id: SERVER_PROVIDER,
    resource_type: SERVER,
    resource_id: backup.serverId,
    resource_name: backup.serverName,
    resource_az: backup.availabilityZone,
    resource_size: backup.sizeGib,
    image_type: 'backup',
    enterprise_project_id: '0',
    created_at: createdAt,
    updated_at: createdAt,
    protected_at: createdAt,
    expired_at: null,
    parent_id: null,
    extend_info: {
      auto_trigger: false,
      incremental: isIncremental(backup),
      supported_restore_mode: 'backup',
      support_lld: true,
      contain_system_disk: backup.containsSystemDisk,
      os_images_data: imagesOf(imageId),
    },
    children: backup.children.map((child) => toDiskBackup(backup, child)),
  };
}

const toDiskBackup = (backup: Backup, child: DiskBackup): BackupDocument['children'][number] => ({
  id: child.id,
  parent_id: backup.id,
  resource_type: 'OS::Cinder::Volume',
  resource_id: child.volumeId,
  resource_size: child.sizeGib,
  status: child.status,
  provider_id: DISK_PROVIDER,
  image_type: 'backup',
  extend_info: {
    bootable: child.bootable,
    system_disk: child.isSystemDisk,
    // The snapshot that the backup was copied from is gone; volumes are made from the backup of the disk itself.
    snapshot_id: child.id,
    encrypted: child.keyId !== null,
    incremental: child.isIncremental,
    size: Math.ceil(child.storedBytes / BYTES_PER_MB),
  },
  children: [],
});

/** A backup of the retired line as backends E2 has it. */
export function toCheckpointItem({ backup, imageId }: ShownBackup): CheckpointItemAnswer {
  const createdAt = backupTime(backup.createdAt);
  const storedBytes = backup.children.reduce((sum, child) => sum + child.storedBytes, 0);
  return {
    checkpoint_item: {
      id: backup.id,
      checkpoint_id: backup.checkpointId,
      name: backup.name,
      status: backup.status,
      resource_id: backup.serverId,
      resource_type: SERVER,
      created_at: createdAt,
      updated_at: createdAt,
      tags: [],
      backup_data: { cloudservicetype: 'hws.service.type.ec2', imagetype: 'backup' },
      extend_info: {
        auto_trigger: false,
        incremental: isIncremental(backup),
        progress: backup.status === 'protecting' ? 0 : 100,
        size: Math.ceil(storedBytes / BYTES_PER_MB),
        copy_status: 'na',
        hypervisor_type: 'QEMU',
        supported_restore_mode: 'backup',
        support_lld: true,
        os_images_data: imagesOf(imageId),
        resource_az: backup.availabilityZone,
        resource_name: backup.serverName,
        finished_at: createdAt,
        volume_backups: backup.children.map((child) => ({
          id: child.id,
          name: backup.name,
          status: child.status,
          bootable: child.bootable,
          source_volume_id: child.volumeId,
          source_volume_name: child.volumeId,
          source_volume_size: child.sizeGib,
          snapshot_id: child.id,
          image_type: 'backup',
          incremental: child.isIncremental,
          size: Math.ceil(child.storedBytes / BYTES_PER_MB),
        })),
      },
    },
  };
}

export type ProtectStatus = CheckpointAnswer['checkpoint']['status'];

/** A server in a vault. */
export const toResource = (server: { id: string; name: string }, status: ProtectStatus) => ({
  id: server.id,
  name: server.name,
  type: SERVER as typeof SERVER,
  protect_status: status,
});

/** A vault as backends E1 has it. */
export const toVault = (vault: Vault, servers: readonly { id: string; name: string }[]): VaultDocument => ({
  id: vault.id,
  name: vault.name,
  project_id: vault.projectId,
  provider_id: SERVER_PROVIDER,
  created_at: backupTime(vault.createdAt),
  billing: {
    consistent_level: 'crash_consistent',
    object_type: vault.objectType,
    protect_type: vault.protectType,
    size: vault.sizeGib,
    used: Math.ceil(vault.usedBytes / BYTES_PER_GB),
    status: vault.status,
    charging_mode: 'post_paid',
  },
  resources: servers.map((server) => toResource(server, 'available')),
});
