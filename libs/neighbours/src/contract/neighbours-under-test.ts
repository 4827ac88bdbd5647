import type { ImageDiskRef } from '../disk-image.port';
import type { BackupsPort } from '../backups.port';
import type { ServersPort } from '../servers.port';
import type { VolumesPort } from '../volumes.port';

/** A driver of all three ports over one cloud, and the ways into its disks that a test needs. */
export interface NeighboursUnderTest {
  servers: ServersPort;
  volumes: VolumesPort;
  backups: BackupsPort;
  /** Guest bytes of a disk, as a program on the server would write and read them. */
  write(projectId: string, volumeId: string, offset: number, bytes: Uint8Array): Promise<void>;
  read(projectId: string, volumeId: string, offset: number, length: number): Promise<Buffer>;
  /** Stores an image with these guest bytes. */
  image(bytes: Buffer): Promise<ImageDiskRef>;
  /** Image bytes read so far. */
  imageBytesRead(): number;
  /** Deletes the image as its owner would; its bytes may go as soon as nothing holds them. Resolves with whether they went. */
  deleteImage(ref: ImageDiskRef): Promise<boolean>;
  /** Puts a server into a state that only its cloud can bring about. */
  setServerStatus(projectId: string, serverId: string, status: 'ERROR' | 'RESIZE'): Promise<void>;
}

export type NeighboursSetup = () => NeighboursUnderTest;
