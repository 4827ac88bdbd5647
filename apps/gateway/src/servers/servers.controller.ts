import { Body, Controller, Get, Param, Post, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type BlockDeviceAnswer,
  blockDeviceAnswer,
  type BlockDevicesAnswer,
  blockDevicesAnswer,
  type CreateServersRequest,
  createServersRequest,
  type ListServersAnswer,
  listServersAnswer,
  type ListServersQuery,
  listServersQuery,
  type ServersAccepted,
  serversAccepted,
  type ShowServerAnswer,
  showServerAnswer,
} from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import { Documents } from '../http/documents';
import { CanDryRun } from '../http/dry-run';
import { ServerJobsService } from './server-jobs.service';
import { ServersService } from './servers.service';

/** Servers that images are made from and that are made from images: what clients of images call of the compute service (backends E4). */
@ApiTags('servers')
@Controller()
export class ServersController {
  constructor(
    private readonly servers: ServersService,
    private readonly jobs: ServerJobsService,
  ) {}

  @Post('v1.1/:project_id/cloudservers')
  @Permits('ecs:cloudServers:create')
  @CanDryRun()
  @Documents({ operation: 'CreateServers', summary: 'Create servers', since: 'v1.1', answer: serversAccepted })
  create(
    @Caller() caller: Call,
    @Body({ schema: createServersRequest }) body: CreateServersRequest,
  ): Promise<ServersAccepted> {
    return this.jobs.create(caller, 'ecs', body);
  }

  @Post('v1/:project_id/cloudservers')
  @Permits('ecs:cloudServers:create')
  @CanDryRun()
  @Documents({ operation: 'CreatePostPaidServers', summary: 'Create servers', since: 'v1', answer: serversAccepted })
  createPostPaid(
    @Caller() caller: Call,
    @Body({ schema: createServersRequest }) body: CreateServersRequest,
  ): Promise<ServersAccepted> {
    return this.jobs.create(caller, 'ecs', body);
  }

  @Get('v1/:project_id/cloudservers/detail')
  @Permits('ecs:cloudServers:list')
  @Documents({ operation: 'ListServersDetails', summary: 'List servers', since: 'v1', answer: listServersAnswer })
  list(
    @Caller() caller: Call,
    @Query({ schema: listServersQuery }) query: ListServersQuery,
  ): Promise<ListServersAnswer> {
    return this.servers.list(caller, query);
  }

  @Get('v1/:project_id/cloudservers/:server_id')
  @Permits('ecs:cloudServers:get')
  @Documents({ operation: 'ShowServer', summary: 'Show a server', since: 'v1', answer: showServerAnswer })
  show(@Caller() caller: Call, @Param('server_id') id: string): Promise<ShowServerAnswer> {
    return this.servers.show(caller, id, 'ecs');
  }

  @Get('v1/:project_id/cloudservers/:server_id/block_device')
  @Permits('ecs:cloudServers:listServerBlockDevices')
  @Documents({
    operation: 'ListServerBlockDevices',
    summary: 'List the disks of a server',
    since: 'v1',
    answer: blockDevicesAnswer,
  })
  blockDevices(@Caller() caller: Call, @Param('server_id') id: string): Promise<BlockDevicesAnswer> {
    return this.servers.blockDevices(caller, id);
  }

  @Get('v1/:project_id/cloudservers/:server_id/block_device/:volume_id')
  @Permits('ecs:cloudServers:showServerBlockDevice')
  @Documents({
    operation: 'ShowServerBlockDevice',
    summary: 'Show a disk of a server',
    since: 'v1',
    answer: blockDeviceAnswer,
  })
  blockDevice(
    @Caller() caller: Call,
    @Param('server_id') id: string,
    @Param('volume_id') volumeId: string,
  ): Promise<BlockDeviceAnswer> {
    return this.servers.blockDevice(caller, id, volumeId);
  }
}
