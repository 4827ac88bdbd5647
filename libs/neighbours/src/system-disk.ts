import { ImsError } from '@ims/contract';
import type { ChangeableServer, SourceServer } from '@ims/domain';
import { refuseSystemDiskImage } from './imaging-rules';
import type { Server, ServersPort } from './servers.port';
import type { Volume, VolumesPort } from './volumes.port';

/**
 * The system disk of a server from which a system disk image may be made now (CRE-01..05, CRE-25).
 *
 * @throws ImsError with the code of `refuseSystemDiskImage`
 */
export async function systemDiskToImage(
  cloud: { servers: Pick<ServersPort, 'get'>; volumes: Pick<VolumesPort, 'get'> },
  projectId: string,
  serverId: string,
): Promise<{ server: Server; disk: Volume }> {
  const server = await cloud.servers.get(projectId, serverId);
  const disks: Volume[] = [];
  for (const { volumeId } of server?.volumes ?? []) {
    const disk = await cloud.volumes.get(projectId, volumeId);
    if (disk !== undefined) disks.push(disk);
  }
  const refusal = refuseSystemDiskImage(server, disks);
  if (refusal !== undefined) throw new ImsError(refusal.code, refusal.detail);
  const root = server?.volumes.find(({ bootIndex }) => bootIndex === 0);
  const disk = disks.find(({ id }) => id === root?.volumeId);
  if (server === undefined || disk === undefined) throw new ImsError('IMG.0119', `server ${serverId}`);
  return { server, disk };
}

/** What of a server and its system disk decides about the image (ims-api 6.2). */
export const sourceServerOf = ({ server, disk }: { server: Server; disk: Volume }): SourceServer => ({
  id: server.id,
  isBareMetal: server.kind === 'bms',
  architecture: server.flavor.architecture,
  systemDiskGib: disk.sizeGib,
  imageId: server.imageId,
});

/** What of a server decides what may be done to it. */
export const changeableServerOf = (server: Server): ChangeableServer => ({
  id: server.id,
  kind: server.kind,
  status: server.status,
  isBusy: server.taskState !== null,
  isFrozen: server.resStatus === 'freeze',
  flavor: server.flavor,
  rootSizeGib: server.volumes.find(({ bootIndex }) => bootIndex === 0)?.sizeGib,
  imageId: server.imageId,
});
