import { Inject, Injectable } from '@nestjs/common';
import type { CreateImageRequest } from '@ims/contract';
import { ImagesRepository } from '@ims/db';
import {
  dataDiskIdsOf,
  scenarioOf,
  type SourceBackup,
  type SourceServer,
  type SourceVolume,
  type WholeImageSource,
  wholeImageSourceOf,
} from '@ims/domain';
import {
  backupToImage,
  dataDisksToImage,
  sourceBackupOf,
  sourceServerOf,
  sourceVolumeOf,
  systemDiskToImage,
  volumeToImage,
} from '@ims/neighbours';
import type { SourceCloud } from '../app-parts';
import { CLOUD } from '../http/injection-tokens';

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

  /** The backup of which the whole server is to be imaged. */
  async backupOf(projectId: string, request: WholeImageSource): Promise<SourceBackup> {
    const { id: backupId, line } = wholeImageSourceOf(request);
    return sourceBackupOf(await backupToImage(this.cloud.backups, this.images, { projectId, backupId, line }));
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
