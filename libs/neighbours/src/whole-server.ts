import { ImsError } from '@ims/contract';
import type { SourceWholeServer } from '@ims/domain';
import type { BackupsPort } from './backups.port';
import { type ImagingRefusal, refuseWholeImageOfServer } from './imaging-rules';
import type { Server, ServersPort } from './servers.port';
import type { Volume, VolumesPort } from './volumes.port';

interface Cloud {
  servers: Pick<ServersPort, 'get'>;
  volumes: Pick<VolumesPort, 'get'>;
  backups: Pick<BackupsPort, 'getVault' | 'vaultOfServer' | 'list'>;
}

interface BackUpRequest {
  projectId: string;
  serverId: string;
  vaultId: string;
  /** Backups of the retired line stand in the way of images of servers, not of backups. */
  isForImage: boolean;
}

/** A server that may be backed up now, with its disks. */
export interface ServerToBackUp {
  server: Server;
  disks: Volume[];
}

/**
 * Whether the server may be backed up into the vault now (CRE-16, CRE-17; backends E3), and what was looked at. Time passes between the call and its
 * job, so both ask.
 */
export async function lookAtServerToBackUp(
  cloud: Cloud,
  { projectId, serverId, vaultId, isForImage }: BackUpRequest,
): Promise<{ refusal: ImagingRefusal } | { refusal?: undefined; found: ServerToBackUp }> {
  const server = await cloud.servers.get(projectId, serverId);
  const disks: Volume[] = [];
  for (const { volumeId } of server?.volumes ?? []) {
    const disk = await cloud.volumes.get(projectId, volumeId);
    if (disk !== undefined) disks.push(disk);
  }
  const refusal = refuseWholeImageOfServer({
    server,
    disks,
    vault: await cloud.backups.getVault(projectId, vaultId),
    currentVault: await cloud.backups.vaultOfServer(projectId, serverId),
    csbsBackups: isForImage ? (await cloud.backups.list(projectId, { serverId, line: 'CSBS' })).length : 0,
  });
  if (refusal !== undefined) return { refusal };
  // The rule refuses what is absent; the compiler cannot see it.
  if (server === undefined) return { refusal: { code: 'IMG.0137', detail: `server ${serverId}` } };
  return { found: { server, disks } };
}

/** The same for whoever only goes on with a yes. @throws ImsError with the code of `refuseWholeImageOfServer` */
export async function serverToBackUp(cloud: Cloud, request: BackUpRequest): Promise<ServerToBackUp> {
  const looked = await lookAtServerToBackUp(cloud, request);
  if (looked.refusal !== undefined) throw new ImsError(looked.refusal.code, looked.refusal.detail);
  return looked.found;
}

/** What a backup of the server reads at most, GiB. */
export const backupGibOf = (disks: readonly Volume[]): number => disks.reduce((sum, { sizeGib }) => sum + sizeGib, 0);

/** What of a server decides about the image of all its disks (ims-api 6.5). */
export const sourceWholeServerOf = ({ server, disks }: ServerToBackUp, vaultId: string): SourceWholeServer => {
  const root = server.volumes.find(({ bootIndex }) => bootIndex === 0);
  return {
    id: server.id,
    vaultId,
    architecture: server.flavor.architecture,
    systemDiskGib: disks.find(({ id }) => id === root?.volumeId)?.sizeGib ?? 0,
    sizeGib: backupGibOf(disks),
    imageId: server.imageId,
    isEncrypted: disks.some(({ encrypted, keyId }) => encrypted || keyId !== null),
  };
};
