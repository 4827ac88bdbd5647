import { Body, Controller, Param, Post } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { type JobAccepted, jobAccepted, type ReplicateImageRequest, replicateImageRequest } from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import { Documents } from '../http/documents';
import { CanDryRun } from '../http/dry-run';
import { ReplicationsService } from './replications.service';

@ApiTags('images')
@Controller('v1/cloudimages')
export class ReplicationsController {
  constructor(private readonly service: ReplicationsService) {}

  @Post(':image_id/cross_region_copy')
  @Permits('ims:images:copy')
  @CanDryRun()
  @Documents({
    operation: 'CopyImageCrossRegion',
    summary: 'Copy an image to another region',
    since: 'v1',
    answer: jobAccepted,
  })
  copy(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: replicateImageRequest }) body: ReplicateImageRequest,
  ): Promise<JobAccepted> {
    return this.service.copy(caller, id, body);
  }
}
