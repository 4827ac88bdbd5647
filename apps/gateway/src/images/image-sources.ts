import { Inject, Injectable } from '@nestjs/common';
import type { CreateImageRequest } from '@ims/contract';
import { ImagesRepository } from '@ims/db';
import {
  dataDiskIdsOf,
  scenarioOf,
  type SourceBackup,
  type SourceWholeServer,
  type SourceServer,
  type SourceVolume,
  type WholeImageSource,
  wholeImageSourceOf,
} from '@ims/domain';
import {
  backupToImage,
  serverToBackUp,
  sourceWholeServerOf,
  dataDisksToImage,
  sourceBackupOf,
  sourceServerOf,
  sourceVolumeOf,
  systemDiskToImage,
  volumeToImage,
} from '@ims/neighbours';
import type { SourceCloud } from '../app-parts';
import { CLOUD } from '../http/injection-tokens';

/** What an image of a whole server is made from. */
export type WholeSource = { backup: SourceBackup } | { wholeServer: SourceWholeServer };

/** Looks up what a create call names as its source, in the caller's project alone. */
@Injectable()
export class ImageSources {
  constructor(
    @Inject(CLOUD) private readonly cloud: SourceCloud,
    private readonly images: ImagesRepository,
  ) {}

  /** The server that is to be imaged; `undefined` when the call names another kind of source. */
  async serverOf(projectId: string, request: CreateImageRequest): Promise<SourceServer | undefined> {
    const { instance_id: serverId } = request;
    if (serverId === undefined || scenarioOf(request) !== 'server') return undefined;
    return sourceServerOf(await systemDiskToImage(this.cloud, projectId, serverId));
  }

  /** The backup, or the server, of which all disks are to be imaged. */
  async wholeOf(projectId: string, request: WholeImageSource): Promise<WholeSource> {
    const origin = wholeImageSourceOf(request);
    if (origin.kind === 'backup') {
      const { id: backupId, line } = origin;
      const backup = await backupToImage(this.cloud.backups, this.images, { projectId, backupId, line });
      return { backup: sourceBackupOf(backup) };
    }
    const { serverId, vaultId } = origin;
    const found = await serverToBackUp(this.cloud, { projectId, serverId, vaultId, isForImage: true });
    return { wholeServer: sourceWholeServerOf(found, vaultId) };
  }

  /** The disk that is to be imaged; `undefined` when the call names another kind of source. */
  async volumeOf(projectId: string, request: CreateImageRequest): Promise<SourceVolume | undefined> {
    const { volume_id: volumeId } = request;
    if (volumeId === undefined || scenarioOf(request) !== 'volume') return undefined;
    return sourceVolumeOf(await volumeToImage(this.cloud, projectId, volumeId));
  }

  /** The disks of one server that are to be imaged together; none when the call names another kind of source. */
  async dataDisksOf(projectId: string, request: CreateImageRequest): Promise<SourceVolume[]> {
    if (scenarioOf(request) !== 'server-volumes') return [];
    const { server, disks } = await dataDisksToImage(this.cloud, projectId, dataDiskIdsOf(request));
    return disks.map((disk) => sourceVolumeOf({ disk, server }));
  }
}
