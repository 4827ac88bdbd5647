import { Body, Controller, Param, Post } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type ChangeOsRequest,
  changeOsRequest,
  type DeleteServersRequest,
  deleteServersRequest,
  type JobAccepted,
  jobAccepted,
  type ReinstallOsRequest,
  reinstallOsRequest,
  type ServerActionRequest,
  serverActionRequest,
  type ServersActionRequest,
  serversActionRequest,
} from '@ims/contract';
import { type Call, Caller, Permits, PermitsAnyOf } from '../access/permits';
import { Documents } from '../http/documents';
import { CanDryRun } from '../http/dry-run';
import { ServerJobsService } from './server-jobs.service';

/** What is done to servers that are there (backends E4). */
@ApiTags('servers')
@Controller()
export class ServerChangesController {
  constructor(private readonly jobs: ServerJobsService) {}

  @Post('v1/:project_id/cloudservers/delete')
  @Permits('ecs:cloudServers:delete')
  @CanDryRun()
  @Documents({ operation: 'DeleteServers', summary: 'Delete servers', since: 'v1', answer: jobAccepted })
  remove(
    @Caller() caller: Call,
    @Body({ schema: deleteServersRequest }) body: DeleteServersRequest,
  ): Promise<JobAccepted> {
    return this.jobs.remove(caller, body);
  }

  @Post('v1/:project_id/cloudservers/action')
  @PermitsAnyOf('ecs:cloudServers:start', 'ecs:cloudServers:stop')
  @CanDryRun()
  @Documents({ operation: 'SwitchServers', summary: 'Start or stop servers', since: 'v1', answer: jobAccepted })
  switchAll(
    @Caller() caller: Call,
    @Body({ schema: serversActionRequest }) body: ServersActionRequest,
  ): Promise<JobAccepted> {
    return this.jobs.switchAll(caller, body);
  }

  @Post('v1/:project_id/cloudservers/:server_id/action')
  @PermitsAnyOf('ecs:cloudServers:start', 'ecs:cloudServers:stop')
  @CanDryRun()
  @Documents({ operation: 'SwitchServer', summary: 'Start or stop a server', since: 'v1', answer: jobAccepted })
  switchOne(
    @Caller() caller: Call,
    @Param('server_id') id: string,
    @Body({ schema: serverActionRequest }) body: ServerActionRequest,
  ): Promise<JobAccepted> {
    return this.jobs.switchOne(caller, id, body);
  }

  @Post('v2/:project_id/cloudservers/:server_id/changeos')
  @Permits('ecs:cloudServers:changeOS')
  @CanDryRun()
  @Documents({
    operation: 'ChangeServerOs',
    summary: 'Change the operating system of a server',
    since: 'v2',
    answer: jobAccepted,
  })
  changeOs(
    @Caller() caller: Call,
    @Param('server_id') id: string,
    @Body({ schema: changeOsRequest }) body: ChangeOsRequest,
  ): Promise<JobAccepted> {
    return this.jobs.changeOs(caller, id, body);
  }

  @Post('v2/:project_id/cloudservers/:server_id/reinstallos')
  @Permits('ecs:cloudServers:rebuild')
  @CanDryRun()
  @Documents({
    operation: 'ReinstallServerOs',
    summary: 'Install the operating system of a server afresh',
    since: 'v2',
    answer: jobAccepted,
  })
  reinstallOs(
    @Caller() caller: Call,
    @Param('server_id') id: string,
    @Body({ schema: reinstallOsRequest }) body: ReinstallOsRequest,
  ): Promise<JobAccepted> {
    return this.jobs.reinstallOs(caller, id, body);
  }
}
