import { Body, Controller, Delete, Get, Param, Post } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type CreateVolumeRequest,
  createVolumeRequest,
  type JobAccepted,
  jobAccepted,
  type ShowVolumeAnswer,
  showVolumeAnswer,
  type VolumesAccepted,
  volumesAccepted,
} from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import { Documents } from '../http/documents';
import { CanDryRun } from '../http/dry-run';
import { VolumesService } from './volumes.service';

/** Disks that are made from images (backends E5). */
@ApiTags('volumes')
@Controller()
export class VolumesController {
  constructor(private readonly service: VolumesService) {}

  @Post('v2/:project_id/cloudvolumes')
  @Permits('evs:volumes:create')
  @CanDryRun()
  @Documents({ operation: 'CreateVolume', summary: 'Create disks', since: 'v2', answer: volumesAccepted })
  create(
    @Caller() caller: Call,
    @Body({ schema: createVolumeRequest }) body: CreateVolumeRequest,
  ): Promise<VolumesAccepted> {
    return this.service.create(caller, body);
  }

  @Post('v2.1/:project_id/cloudvolumes')
  @Permits('evs:volumes:create')
  @CanDryRun()
  @Documents({ operation: 'CreateVolumeV21', summary: 'Create disks', since: 'v2.1', answer: volumesAccepted })
  createV21(
    @Caller() caller: Call,
    @Body({ schema: createVolumeRequest }) body: CreateVolumeRequest,
  ): Promise<VolumesAccepted> {
    return this.service.create(caller, body);
  }

  @Get('v2/:project_id/cloudvolumes/:volume_id')
  @Permits('evs:volumes:get')
  @Documents({ operation: 'ShowVolume', summary: 'Show a disk', since: 'v2', answer: showVolumeAnswer })
  show(@Caller() caller: Call, @Param('volume_id') id: string): Promise<ShowVolumeAnswer> {
    return this.service.show(caller, id);
  }

  @Delete('v2/:project_id/cloudvolumes/:volume_id')
  @Permits('evs:volumes:delete')
  @CanDryRun()
  @Documents({ operation: 'DeleteVolume', summary: 'Delete a disk', since: 'v2', answer: jobAccepted })
  remove(@Caller() caller: Call, @Param('volume_id') id: string): Promise<JobAccepted> {
    return this.service.remove(caller, id);
  }
}
