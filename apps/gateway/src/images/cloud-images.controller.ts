import { Body, Controller, Get, Post, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type CloudImageList,
  cloudImageList,
  type CreateImageRequest,
  createImageRequest,
  type JobAccepted,
  jobAccepted,
  type ListImagesQuery,
  listImagesQuery,
} from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import { Documents } from '../http/documents';
import { ImageCreateService } from './image-create.service';
import { ImageReadsService } from './image-reads.service';

@ApiTags('images')
@Controller()
export class CloudImagesController {
  constructor(
    private readonly reads: ImageReadsService,
    private readonly creations: ImageCreateService,
  ) {}

  @Get('v2/cloudimages')
  @Permits('ims:images:list')
  @Documents({ operation: 'ListImages', summary: 'List images', since: 'v2', answer: cloudImageList })
  list(@Caller() caller: Call, @Query({ schema: listImagesQuery }) query: ListImagesQuery): Promise<CloudImageList> {
    return this.reads.list(caller, query);
  }

  @Post('v2/cloudimages/action')
  @Permits('ims:serverImages:create')
  @Documents({ operation: 'CreateImage', summary: 'Create an image', since: 'v2', answer: jobAccepted })
  create(@Caller() caller: Call, @Body({ schema: createImageRequest }) body: CreateImageRequest): Promise<JobAccepted> {
    return this.creations.create(caller, body);
  }

  @Post('v2.1/cloudimages/action')
  @Permits('ims:serverImages:create')
  @Documents({
    operation: 'CreateImageInSafeMode',
    summary: 'Create an image; keys by the caller’s own rights',
    since: 'v2.1',
    answer: jobAccepted,
  })
  createInSafeMode(
    @Caller() caller: Call,
    @Body({ schema: createImageRequest }) body: CreateImageRequest,
  ): Promise<JobAccepted> {
    return this.creations.create(caller, body);
  }
}
