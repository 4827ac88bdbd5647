import { Body, Controller, Get, Param, Post } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type CreateServersRequest,
  createServersRequest,
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

/** Bare-metal servers (backends E6). */
@ApiTags('servers')
@Controller('v1')
export class BareMetalServersController {
  constructor(
    private readonly servers: ServersService,
    private readonly jobs: ServerJobsService,
  ) {}

  @Post(':project_id/baremetalservers')
  @Permits('bms:servers:create')
  @CanDryRun()
  @Documents({
    operation: 'CreateBareMetalServers',
    summary: 'Create bare-metal servers',
    since: 'v1',
    answer: serversAccepted,
  })
  create(
    @Caller() caller: Call,
    @Body({ schema: createServersRequest }) body: CreateServersRequest,
  ): Promise<ServersAccepted> {
    return this.jobs.create(caller, 'bms', body);
  }

  @Get(':project_id/baremetalservers/:server_id')
  @Permits('bms:servers:get')
  @Documents({
    operation: 'ShowBareMetalServer',
    summary: 'Show a bare-metal server',
    since: 'v1',
    answer: showServerAnswer,
  })
  show(@Caller() caller: Call, @Param('server_id') id: string): Promise<ShowServerAnswer> {
    return this.servers.show(caller, id, 'bms');
  }
}
