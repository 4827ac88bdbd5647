import { Body, Controller, Get, Param, Post, Put, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type CloudImageList,
  type CopyImageRequest,
  copyImageRequest,
  cloudImageList,
  type CreateDataImageRequest,
  createDataImageRequest,
  type CreateImageRequest,
  createImageRequest,
  type CreateWholeImageRequest,
  createWholeImageRequest,
  type ExportImageRequest,
  exportImageRequest,
  type JobAccepted,
  jobAccepted,
  type ListImagesQuery,
  listImagesQuery,
  type QuickImportRequest,
  quickImportRequest,
  type RegisterImageRequest,
  registerImageRequest,
} from '@ims/contract';
import { type Call, Caller, CREATES_IMAGES, Permits, PermitsAnyOf } from '../access/permits';
import { Documents } from '../http/documents';
import { CanDryRun } from '../http/dry-run';
import { ImageCopyService } from './image-copy.service';
import { ImageCreateService } from './image-create.service';
import { ImageExportService } from './image-export.service';
import { ImageReadsService } from './image-reads.service';
import { ImageUploadService } from './image-upload.service';

@ApiTags('images')
@Controller()
export class CloudImagesController {
  constructor(
    private readonly reads: ImageReadsService,
    private readonly creations: ImageCreateService,
    private readonly uploads: ImageUploadService,
    private readonly exports: ImageExportService,
    private readonly copies: ImageCopyService,
  ) {}

  @Get('v2/cloudimages')
  @Permits('ims:images:list')
  @Documents({ operation: 'ListImages', summary: 'List images', since: 'v2', answer: cloudImageList })
  list(@Caller() caller: Call, @Query({ schema: listImagesQuery }) query: ListImagesQuery): Promise<CloudImageList> {
    return this.reads.list(caller, query);
  }

  // Not in the vendor's SDKs (ims-api 4.3).
  @Get('v1/cloudimages/fuzzy')
  @Permits('ims:images:list')
  @Documents({
    operation: 'ListImagesFuzzy',
    summary: 'List images by a part of their name',
    since: 'v1',
    answer: cloudImageList,
  })
  listFuzzy(
    @Caller() caller: Call,
    @Query({ schema: listImagesQuery }) query: ListImagesQuery,
  ): Promise<CloudImageList> {
    return this.reads.listFuzzy(caller, query);
  }

  @Post('v2/cloudimages/action')
  @Permits('ims:serverImages:create')
  @CanDryRun()
  @Documents({ operation: 'CreateImage', summary: 'Create an image', since: 'v2', answer: jobAccepted })
  create(@Caller() caller: Call, @Body({ schema: createImageRequest }) body: CreateImageRequest): Promise<JobAccepted> {
    return this.creations.create(caller, body);
  }

  @Post('v2.1/cloudimages/action')
  @Permits('ims:serverImages:create')
  @CanDryRun()
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
    return this.creations.create(caller, body, true);
  }

  @Post('v1/cloudimages/dataimages/action')
  @Permits('ims:dataImages:create')
  @CanDryRun()
  @Documents({
    operation: 'CreateDataImage',
    summary: 'Create a data disk image from a file',
    since: 'v1',
    answer: jobAccepted,
  })
  createDataImage(
    @Caller() caller: Call,
    @Body({ schema: createDataImageRequest }) body: CreateDataImageRequest,
  ): Promise<JobAccepted> {
    return this.creations.createDataImage(caller, body);
  }

  @Post('v2.1/cloudimages/dataimages/action')
  @Permits('ims:dataImages:create')
  @CanDryRun()
  @Documents({
    operation: 'CreateDataImageInSafeMode',
    summary: 'Create a data disk image from a file; keys by the caller’s own rights',
    since: 'v2.1',
    answer: jobAccepted,
  })
  createDataImageInSafeMode(
    @Caller() caller: Call,
    @Body({ schema: createDataImageRequest }) body: CreateDataImageRequest,
  ): Promise<JobAccepted> {
    return this.creations.createDataImage(caller, body, true);
  }

  @Put('v1/cloudimages/:image_id/upload')
  @Permits('ims:images:upload')
  @CanDryRun()
  @Documents({
    operation: 'RegisterImage',
    summary: 'Import a file of a bucket into an image that waits for its bytes',
    since: 'v1',
    answer: jobAccepted,
  })
  register(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: registerImageRequest }) body: RegisterImageRequest,
  ): Promise<JobAccepted> {
    return this.uploads.register(caller, id, body);
  }

  @Post('v1/cloudimages/:image_id/file')
  @Permits('ims:images:export')
  @CanDryRun()
  @Documents({ operation: 'ExportImage', summary: 'Export an image into a bucket', since: 'v1', answer: jobAccepted })
  export(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: exportImageRequest }) body: ExportImageRequest,
  ): Promise<JobAccepted> {
    return this.exports.export(caller, id, body);
  }

  @Post('v2.1/cloudimages/:image_id/file')
  @Permits('ims:images:export')
  @CanDryRun()
  @Documents({
    operation: 'ExportImageInSafeMode',
    summary: 'Export an image into a bucket; keys by the caller’s own rights',
    since: 'v2.1',
    answer: jobAccepted,
  })
  exportInSafeMode(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: exportImageRequest }) body: ExportImageRequest,
  ): Promise<JobAccepted> {
    return this.exports.export(caller, id, body, true);
  }

  @Post('v1/cloudimages/wholeimages/action')
  @Permits('ims:wholeImages:create')
  @CanDryRun()
  @Documents({
    operation: 'CreateWholeImage',
    summary: 'Create an image of a whole server, data disks included, from a backup',
    since: 'v1',
    answer: jobAccepted,
  })
  createWholeImage(
    @Caller() caller: Call,
    @Body({ schema: createWholeImageRequest }) body: CreateWholeImageRequest,
  ): Promise<JobAccepted> {
    return this.creations.createWholeImage(caller, body);
  }

  @Post('v1/cloudimages/:image_id/copy')
  @Permits('ims:images:copy')
  @CanDryRun()
  @Documents({
    operation: 'CopyImageInRegion',
    summary: 'Copy an image in its region, under another key or none',
    since: 'v1',
    answer: jobAccepted,
  })
  copy(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: copyImageRequest }) body: CopyImageRequest,
  ): Promise<JobAccepted> {
    return this.copies.copy(caller, id, body);
  }

  @Post('v2.1/cloudimages/:image_id/copy')
  @Permits('ims:images:copy')
  @CanDryRun()
  @Documents({
    operation: 'CopyImageInRegionInSafeMode',
    summary: 'Copy an image in its region; keys by the caller’s own rights',
    since: 'v2.1',
    answer: jobAccepted,
  })
  copyInSafeMode(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: copyImageRequest }) body: CopyImageRequest,
  ): Promise<JobAccepted> {
    return this.copies.copy(caller, id, body, true);
  }

  @Post('v2/cloudimages/quickimport/action')
  @PermitsAnyOf(...CREATES_IMAGES)
  @CanDryRun()
  @Documents({
    operation: 'ImportImageQuick',
    summary: 'Create a system or data disk image from a large file',
    since: 'v2',
    answer: jobAccepted,
  })
  importQuick(
    @Caller() caller: Call,
    @Body({ schema: quickImportRequest }) body: QuickImportRequest,
  ): Promise<JobAccepted> {
    return this.creations.importQuick(caller, body);
  }

  @Post('v2.1/cloudimages/quickimport/action')
  @PermitsAnyOf(...CREATES_IMAGES)
  @CanDryRun()
  @Documents({
    operation: 'ImportImageQuickInSafeMode',
    summary: 'Create a system or data disk image from a large file; keys by the caller’s own rights',
    since: 'v2.1',
    answer: jobAccepted,
  })
  importQuickInSafeMode(
    @Caller() caller: Call,
    @Body({ schema: quickImportRequest }) body: QuickImportRequest,
  ): Promise<JobAccepted> {
    return this.creations.importQuick(caller, body, true);
  }
}
