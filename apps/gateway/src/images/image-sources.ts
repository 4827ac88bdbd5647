import { Inject, Injectable } from '@nestjs/common';
import type { CreateImageRequest } from '@ims/contract';
import { scenarioOf, type SourceServer } from '@ims/domain';
import { sourceServerOf, systemDiskToImage } from '@ims/neighbours';
import type { SourceCloud } from '../app-parts';
import { CLOUD } from '../http/injection-tokens';

/** Looks up what a create call names as its source, in the caller's project alone. */
@Injectable()
export class ImageSources {
  constructor(@Inject(CLOUD) private readonly cloud: SourceCloud) {}

  /** The server that is to be imaged; `undefined` when the call names another kind of source. */
  async serverOf(projectId: string, request: CreateImageRequest): Promise<SourceServer | undefined> {
    const { instance_id: serverId } = request;
    if (serverId === undefined || scenarioOf(request) !== 'server') return undefined;
    return sourceServerOf(await systemDiskToImage(this.cloud, projectId, serverId));
  }
}
