import { ImsError } from '@ims/contract';
import type { SourceVolume } from '@ims/domain';
import { refuseDataDiskImages, refuseVolumeImage } from './imaging-rules';
import type { Server, ServersPort } from './servers.port';
import type { Volume, VolumesPort } from './volumes.port';

interface Cloud {
  servers: Pick<ServersPort, 'get'>;
  volumes: Pick<VolumesPort, 'get'>;
}

/** A disk that may be imaged now, and a server that has it, if one has. */
export interface DiskToImage {
  disk: Volume;
  server: Server | null;
}

/**
 * The disk of this id, if an image may be made of it now (ims-api 6.2 E); it may be in use or not.
 *
 * @throws ImsError with the code of `refuseVolumeImage`
 */
export async function volumeToImage(cloud: Cloud, projectId: string, volumeId: string): Promise<DiskToImage> {
  const disk = await cloud.volumes.get(projectId, volumeId);
  const servers: Server[] = [];
  for (const { serverId } of disk?.attachments ?? []) {
    const server = await cloud.servers.get(projectId, serverId);
    if (server !== undefined) servers.push(server);
  }
  const refusal = refuseVolumeImage(disk, servers);
  if (refusal !== undefined) throw new ImsError(refusal.code, refusal.detail);
  if (disk === undefined) throw new ImsError('IMG.0120', `disk ${volumeId}`);
  return { disk, server: servers[0] ?? null };
}

/**
 * Disks of one server of which images may be made now, in the order asked for (CRE-06, CRE-08).
 *
 * @throws ImsError with the code of `refuseDataDiskImages`
 */
export async function dataDisksToImage(
  cloud: Cloud,
  projectId: string,
  volumeIds: readonly string[],
): Promise<{ server: Server; disks: Volume[] }> {
  const disks: (Volume | undefined)[] = [];
  for (const id of volumeIds) disks.push(await cloud.volumes.get(projectId, id));
  const known = disks.filter((disk) => disk !== undefined);
  // A disk may be attached to several servers: the one that has them all is meant.
  const [first, ...others] = known.map(({ attachments }) => attachments.map(({ serverId }) => serverId));
  const common = first?.find((id) => others.every((servers) => servers.includes(id)));
  const server = common === undefined ? undefined : await cloud.servers.get(projectId, common);
  const refusal = refuseDataDiskImages(server, disks);
  if (refusal !== undefined) throw new ImsError(refusal.code, refusal.detail);
  if (server === undefined) throw new ImsError('IMG.0140', 'name disks of one server only');
  return { server, disks: known };
}

/** What of a disk decides about its image (ims-api 6.2). */
export const sourceVolumeOf = ({ disk, server }: DiskToImage): SourceVolume => ({
  id: disk.id,
  sizeGib: disk.sizeGib,
  architecture: server?.flavor.architecture ?? null,
  imageId: imageOf({ disk, server }),
});

/** The image that the disk came from: its own, or that of the server whose system it holds, whatever way it got there. */
function imageOf({ disk, server }: DiskToImage): string | null {
  if (disk.origin.from === 'image') return disk.origin.image.imageId;
  return disk.use === 'system' ? (server?.imageId ?? null) : null;
}
