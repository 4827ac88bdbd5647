import { Inject, Injectable } from '@nestjs/common';
import {
  type BlockDeviceAnswer,
  type BlockDevicesAnswer,
  ImsError,
  type ListServersAnswer,
  type ListServersQuery,
  type ShowServerAnswer,
} from '@ims/contract';
import { requireServer } from '@ims/domain';
import type { Server } from '@ims/neighbours';
import type { Call } from '../access/permits';
import type { SourceCloud } from '../app-parts';
import { CLOUD } from '../http/injection-tokens';
import { attachableTo, toBlockDevices, toServerDocument } from './server.wire';

const DEFAULT_LIMIT = 25;
const NOT_FOUND = 404;

/** Servers of a project as they are. Those of another project are as unknown as none. */
@Injectable()
export class ServersService {
  constructor(@Inject(CLOUD) private readonly cloud: SourceCloud) {}

  async show(caller: Call, id: string, kind: 'ecs' | 'bms'): Promise<ShowServerAnswer> {
    return { server: toServerDocument(await this.find(caller, id, kind)) };
  }

  async list(caller: Call, query: ListServersQuery): Promise<ListServersAnswer> {
    const { limit = DEFAULT_LIMIT, offset = 1, name, status } = query;
    const servers = (await this.cloud.servers.list(caller.projectId))
      .filter(({ kind }) => kind === 'ecs')
      .filter((server) => name === undefined || server.name.includes(name))
      .filter((server) => status === undefined || server.status === status.toUpperCase());
    const first = Math.max(0, offset - 1) * limit;
    return { count: servers.length, servers: servers.slice(first, first + limit).map(toServerDocument) };
  }

  async blockDevices(caller: Call, id: string): Promise<BlockDevicesAnswer> {
    const server = await this.find(caller, id, 'ecs');
    return { attachableQuantity: attachableTo(server), volumeAttachments: toBlockDevices(server) };
  }

  async blockDevice(caller: Call, id: string, volumeId: string): Promise<BlockDeviceAnswer> {
    const devices = toBlockDevices(await this.find(caller, id, 'ecs'));
    const volumeAttachment = devices.find((device) => device.volumeId === volumeId);
    if (volumeAttachment === undefined)
      throw new ImsError('EVS.1002', `disk ${volumeId.slice(0, 64)} at this server`, NOT_FOUND);
    return { volumeAttachment };
  }

  /** @throws ImsError Ecs.0114 (404) */
  async find(caller: Call, id: string, kind: 'ecs' | 'bms'): Promise<Server> {
    const server = await this.cloud.servers.get(caller.projectId, id);
    // An id may be as long as the address; only its head is repeated.
    return requireServer(server?.kind === kind ? server : undefined, id.slice(0, 64));
  }
}
