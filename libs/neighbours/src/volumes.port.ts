import type { DiskDescriptor } from '@ims/image-format';
import type { ImageDiskRef } from './disk-image.port';

/** States of a disk (Cinder's words; backends E5). */
export const VOLUME_STATUSES = ['available', 'in-use', 'error', 'deleted'] as const;
export type VolumeStatus = (typeof VOLUME_STATUSES)[number];

/** `dss` and `dess` are disks of dedicated pools, which cannot be imaged (IMG.0153). */
export const STORAGE_POOLS = ['evs', 'dss', 'dess'] as const;
export type StoragePool = (typeof STORAGE_POOLS)[number];

/** Where the first bytes of a disk come from. Nothing is copied at creation from an image, a snapshot or a backup. */
export type VolumeOrigin =
  | { from: 'blank' }
  | { from: 'image'; image: ImageDiskRef; role: 'system' | 'data' }
  | { from: 'snapshot'; snapshotId: string }
  /** A backup of one disk: a child of a server's backup. */
  | { from: 'backup'; backupId: string }
  /** A raw disk file on the machine that holds the disks. */
  | { from: 'file'; path: string };

export interface NewVolume {
  id: string;
  projectId: string;
  name?: string;
  availabilityZone?: string;
  sizeGib: number;
  origin: VolumeOrigin;
  /** System disks are 1-1024 GiB, data disks 10-32768 GiB (backends E5); system when left out and made from a system image. */
  use?: 'system' | 'data';
  volumeType?: string;
  /** May be attached to several servers at once. */
  shareable?: boolean;
  /** KMS key of an encrypted disk. When left out, a disk made from a snapshot or backup is encrypted as its source was. */
  keyId?: string;
  pool?: StoragePool;
}

export interface VolumeAttachment {
  serverId: string;
  device: string;
  /** `0` is the system disk; `null` never boots. */
  bootIndex: number | null;
  deleteOnTermination: boolean;
}

export interface Volume {
  id: string;
  projectId: string;
  name: string;
  availabilityZone: string;
  status: VolumeStatus;
  sizeGib: number;
  volumeType: string;
  use: 'system' | 'data';
  bootable: boolean;
  encrypted: boolean;
  keyId: string | null;
  shareable: boolean;
  pool: StoragePool;
  origin: VolumeOrigin;
  /** Image, snapshot or backup bytes it still reads; `false` once it stands alone. */
  dependsOnOrigin: boolean;
  attachments: VolumeAttachment[];
  createdAt: Date;
}

/** What was done so that all disks of a snapshot set show the same moment. */
export const QUIESCED_BY = ['no-writer', 'writes-held', 'guest-paused'] as const;
/** `no-writer`: nothing wrote. `writes-held`: writes to all disks waited. `guest-paused`: the virtual machine stood still as well. */
export type QuiescedBy = (typeof QUIESCED_BY)[number];

export interface Snapshot {
  id: string;
  projectId: string;
  volumeId: string;
  /** Server the set belongs to; `null` for a disk of no server. */
  serverId: string | null;
  sizeGib: number;
  bootable: boolean;
  keyId: string | null;
  quiescedBy: QuiescedBy;
  createdAt: Date;
}

/** A disk opened for reading by worker threads, valid until `release`. */
export interface ImagingDisk {
  disk: DiskDescriptor;
  virtualSizeBytes: number;
  release(): Promise<void>;
}

/** Disks (EVS). Every id comes from the caller: creating the same id again with the same request returns the same thing. */
export interface VolumesPort {
  /** `undefined` when the project has no such disk, or had it deleted. */
  get(projectId: string, volumeId: string): Promise<Volume | undefined>;
  list(projectId: string): Promise<Volume[]>;
  /** @throws NeighbourError NOT_FOUND (its origin), WRONG_SIZE, CONFLICT, INVALID */
  create(request: NewVolume): Promise<Volume>;
  /** Several equal disks. @throws NeighbourError ONE_AT_A_TIME for more than one from a data disk image (CRE-07), and those of `create` */
  createSeveral(request: Omit<NewVolume, 'id'> & { ids: readonly string[] }): Promise<Volume[]>;
  /** Device names are chosen in order when left out. @throws NeighbourError NOT_FOUND, IN_USE, WRONG_STATE, CONFLICT */
  attach(request: {
    projectId: string;
    volumeId: string;
    serverId: string;
    device?: string;
    bootIndex?: number | null;
    deleteOnTermination?: boolean;
  }): Promise<Volume>;
  /** Accepts that it is not attached. @throws NeighbourError NOT_FOUND, WRONG_STATE while the server runs from it */
  detach(request: { projectId: string; volumeId: string; serverId: string }): Promise<Volume>;
  /** Accepts that it is gone. @throws NeighbourError IN_USE */
  delete(projectId: string, volumeId: string): Promise<void>;
  /**
   * One moment of several disks of one server (or of no server): later writes to any of them are in none of the snapshots, earlier
   * ones in all. The caller names each snapshot's id by its disk; ids that exist already are returned as they are.
   *
   * @throws NeighbourError NOT_FOUND, INVALID (disks of different servers), BUSY (another process has a disk open), CONFLICT
   */
  snapshot(request: { projectId: string; snapshotIdsByVolume: Readonly<Record<string, string>> }): Promise<Snapshot[]>;
  getSnapshot(projectId: string, snapshotId: string): Promise<Snapshot | undefined>;
  /** Accepts that it is gone; disks made from it live on. */
  deleteSnapshot(projectId: string, snapshotId: string): Promise<void>;
  /** @throws NeighbourError NOT_FOUND */
  openForImaging(projectId: string, snapshotId: string): Promise<ImagingDisk>;
  /**
   * Copies everything the disk still reads from its origin, beside its running use; afterwards it depends on nothing.
   * Safe to repeat: what has been copied is not copied again.
   *
   * @throws NeighbourError NOT_FOUND, BUSY
   */
  hydrate(request: {
    projectId: string;
    volumeId: string;
    signal?: AbortSignal;
    onProgress?(bytesDone: number, bytesTotal: number): void;
  }): Promise<{ bytesCopied: number }>;
}
