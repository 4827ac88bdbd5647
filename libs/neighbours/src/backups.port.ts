import type { OfferedBackup } from '@ims/contract';
import type { Architecture } from './servers.port';
import type { ByteRange } from './disk/layered-disk';
import type { ImagingDisk, QuiescedBy, Volume } from './volumes.port';

/** Vaults of another kind exist (disks, file systems) and must be refused for servers (IMG.0193). */
export const VAULT_OBJECT_TYPES = ['server', 'disk', 'turbo'] as const;
export type VaultObjectType = (typeof VAULT_OBJECT_TYPES)[number];

export const VAULT_STATUSES = ['available', 'lock', 'frozen', 'deleting', 'error'] as const;
export type VaultStatus = (typeof VAULT_STATUSES)[number];

export interface NewVault {
  id: string;
  projectId: string;
  name: string;
  objectType: VaultObjectType;
  /** `replication` vaults take copies from other regions (IMG.0189), no backups of servers. */
  protectType: 'backup' | 'replication';
  sizeGib: number;
  /** Most servers it may hold; 100 when left out. */
  memberLimit?: number;
}

export interface Vault extends Required<NewVault> {
  status: VaultStatus;
  /** Bytes its backups really take. */
  usedBytes: number;
  /** Servers that belong to it; a server belongs to one vault at most (IMG.0183). */
  serverIds: string[];
  createdAt: Date;
}

/** States of a backup (backends E1). */
export const BACKUP_STATUSES = [
  'available',
  'protecting',
  'deleting',
  'restoring',
  'error',
  'waiting_protect',
  'waiting_delete',
  'waiting_restore',
] as const;
export type BackupStatus = (typeof BACKUP_STATUSES)[number];

/** A backup of one disk. */
export interface DiskBackup {
  id: string;
  volumeId: string;
  sizeGib: number;
  status: BackupStatus;
  device: string;
  isSystemDisk: boolean;
  bootable: boolean;
  keyId: string | null;
  /** Only blocks that differ from the backup before it are stored. */
  isIncremental: boolean;
  /** Bytes stored for this one. */
  storedBytes: number;
}

/** A backup of a server: one child per disk, all of the same moment. `CSBS` is the retired line, which is only read. */
export interface Backup {
  id: string;
  projectId: string;
  line: 'CBR' | 'CSBS';
  name: string;
  checkpointId: string;
  vaultId: string | null;
  serverId: string;
  serverName: string;
  /** Processor of the server, also when that is gone. */
  architecture: Architecture;
  /** The image that the server was made from. */
  serverImageId: string | null;
  availabilityZone: string;
  status: BackupStatus;
  containsSystemDisk: boolean;
  /** `os_images_data`: the one image made from it; `null` while there is none. */
  imageId: string | null;
  /** Set when the backup belongs to somebody else and was shared in; such images cannot be shared on (IMG.0135). */
  sharedFromProjectId: string | null;
  sizeGib: number;
  children: DiskBackup[];
  createdAt: Date;
}

export interface Checkpoint {
  id: string;
  projectId: string;
  vaultId: string;
  serverId: string;
  status: 'protecting' | 'available' | 'error' | 'deleted';
  /** Backup of the server made by it. */
  backupId: string;
  quiescedBy: QuiescedBy;
  /** Bytes written for it: blocks that the backup before it did not have. */
  bytesStored: number;
  /** Bytes read to find them. */
  bytesRead: number;
  createdAt: Date;
}

/** A disk of a server at the moment of a checkpoint. */
export interface QuiescedDisk {
  volumeId: string;
  device: string;
  isSystemDisk: boolean;
  sizeGib: number;
}

/** All disks of a server at one moment, which waits to be copied. */
export interface Moment {
  checkpointId: string;
  backupId: string;
  quiescedBy: QuiescedBy;
  /** By device. */
  disks: QuiescedDisk[];
}

/** What the backup of one disk took. */
export interface CopiedDisk {
  diskBackupId: string;
  volumeId: string;
  device: string;
  isIncremental: boolean;
  /** Segments of 2 MiB that differ from the backup before. */
  segmentsChanged: number;
  bytesRead: number;
  bytesStored: number;
}

export interface CheckpointRequest {
  id: string;
  projectId: string;
  vaultId: string;
  serverId: string;
  /** Of the backup. */
  name: string;
}

/** The backup of another region, and where the disks of it are stored here: in the image that came with it. */
export interface ReplicaRequest {
  projectId: string;
  vaultId: string;
  imageId: string;
  backup: OfferedBackup;
  disks: readonly {
    diskBackupId: string;
    domainId: string;
    manifestHash: string;
    virtualSizeBytes: number;
    storedBytes: number;
  }[];
}

/** Backups of servers: vaults, checkpoints, backups (CBR), and backups of the retired line (CSBS). */
export interface BackupsPort {
  createVault(request: NewVault): Promise<Vault>;
  getVault(projectId: string, vaultId: string): Promise<Vault | undefined>;
  listVaults(projectId: string): Promise<Vault[]>;
  setVaultStatus(projectId: string, vaultId: string, status: VaultStatus): Promise<Vault>;
  /** The vault a server belongs to. */
  vaultOfServer(projectId: string, serverId: string): Promise<Vault | undefined>;
  /**
   * Makes the server a member; accepts that it is one.
   *
   * @throws NeighbourError NOT_FOUND, SERVER_IN_OTHER_VAULT (IMG.0183), VAULT_MEMBER_LIMIT (IMG.0185), VAULT_WRONG_KIND (IMG.0193),
   *   VAULT_UNUSABLE (IMG.0188)
   */
  addServer(request: { projectId: string; vaultId: string; serverId: string }): Promise<Vault>;
  removeServer(request: { projectId: string; vaultId: string; serverId: string }): Promise<void>;
  /**
   * Backs a running or stopped server up: one moment of all its disks, one child backup per disk, incremental where the server has an
   * earlier backup in the same vault. The server is busy (`backing-up`) meanwhile. Repeated with the same id it goes on with what is
   * missing, or returns what was made.
   *
   * @throws NeighbourError those of `addServer`, WRONG_STATE, FROZEN, BUSY (IMG.0136), VAULT_FULL (IMG.0182; the checkpoint ends in `error`)
   */
  createCheckpoint(
    request: CheckpointRequest & { signal?: AbortSignal; onProgress?(bytesDone: number, bytesTotal: number): void },
  ): Promise<Checkpoint>;
  /**
   * The parts of `createCheckpoint`, for whoever copies disks side by side: freezes one moment of all disks and makes the server busy. Repeated with
   * the same id it is the same moment.
   *
   * @throws NeighbourError those of `createCheckpoint` but VAULT_FULL
   */
  beginCheckpoint(request: CheckpointRequest): Promise<Moment>;
  /**
   * Copies one disk of the moment, going on where an interrupted copy stopped; one that is complete is told again. Disks may be copied side by side.
   * Progress is that of all disks.
   *
   * @throws NeighbourError NOT_FOUND, VAULT_FULL (IMG.0182), WRONG_STATE when the checkpoint has been given up
   */
  copyDisk(request: {
    projectId: string;
    checkpointId: string;
    volumeId: string;
    signal?: AbortSignal;
    onProgress?(bytesDone: number, bytesTotal: number): void;
  }): Promise<CopiedDisk>;
  /**
   * With every disk copied the checkpoint and its backup become available, both at once, and the server is free again. Accepts that they are.
   *
   * @throws NeighbourError NOT_FOUND, WRONG_STATE while a disk is missing
   */
  sealCheckpoint(projectId: string, checkpointId: string): Promise<Checkpoint>;
  /** The disks need not keep the moment any longer. Accepts that they do not, and that the checkpoint is gone. */
  releaseMoment(projectId: string, checkpointId: string): Promise<void>;
  /** Removes the copies made for a checkpoint that is not available; of one that is, nothing. */
  dropDisks(projectId: string, checkpointId: string): Promise<void>;
  /**
   * What of a disk may differ from an earlier backup of it, without reading either; `undefined` where that is not known, because the later one does
   * not stand on it.
   *
   * @throws NeighbourError NOT_FOUND
   */
  changedSince(request: {
    projectId: string;
    diskBackupId: string;
    earlierDiskBackupId: string;
  }): Promise<ByteRange[] | undefined>;
  /**
   * Records the replica of another region's backup in a vault for replicas, bound to the image that came with it (REP-11); repeatable by the same image.
   *
   * @throws NeighbourError NOT_FOUND, VAULT_WRONG_KIND, VAULT_UNUSABLE, ALREADY_IMAGED
   */
  createReplica(request: ReplicaRequest): Promise<Backup>;
  /** Whether this region has the backup, whosever it is (ims-api 7.2: a replica comes once). */
  isInRegion(backupId: string): Promise<boolean>;
  getCheckpoint(projectId: string, checkpointId: string): Promise<Checkpoint | undefined>;
  /** Removes the checkpoint with its backups; accepts that it is gone. @throws NeighbourError IN_USE while an image was made from them */
  deleteCheckpoint(projectId: string, checkpointId: string): Promise<void>;
  /** A backup of a server of either line; `undefined` when the project has none by this id. */
  get(projectId: string, backupId: string): Promise<Backup | undefined>;
  list(
    projectId: string,
    filter?: { serverId?: string; checkpointId?: string; line?: 'CBR' | 'CSBS' },
  ): Promise<Backup[]>;
  /** Accepts that it is gone. @throws NeighbourError IN_USE while an image was made from it, INVALID for CSBS */
  delete(projectId: string, backupId: string): Promise<void>;
  setStatus(projectId: string, backupId: string, status: BackupStatus): Promise<Backup>;
  /**
   * Records the image made from this backup (CRE-18): of any number of callers exactly one gets it; repeatable by the same image.
   *
   * @throws NeighbourError NOT_FOUND, WRONG_STATE, ALREADY_IMAGED
   */
  claimForImage(request: { projectId: string; backupId: string; imageId: string }): Promise<Backup>;
  /** Does nothing when the image does not hold it. */
  releaseFromImage(request: { projectId: string; backupId: string; imageId: string }): Promise<void>;
  /**
   * Puts the content of a disk's backup back into a disk of the same or a larger size that nothing is running from.
   *
   * @throws NeighbourError NOT_FOUND, WRONG_SIZE, WRONG_STATE, BUSY
   */
  restore(request: { projectId: string; diskBackupId: string; volumeId: string }): Promise<Volume>;
  /** @throws NeighbourError NOT_FOUND, WRONG_STATE */
  openForImaging(projectId: string, diskBackupId: string): Promise<ImagingDisk>;
}
