import { Body, Controller, Delete, Get, Headers, Param, Post, Put, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type DeleteImageRequest,
  deleteImageRequest,
  type GlanceImage,
  glanceImage,
  type GlanceImageList,
  glanceImageList,
  type ListGlanceImagesQuery,
  listGlanceImagesQuery,
  type ImageMetadataRequest,
  imageMetadataRequest,
} from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import type { Answer } from '../http/answer';
import { Documents } from '../http/documents';
import { RawQuery } from '../http/raw-query';
import { type Upload, UploadBody } from '../http/upload';
import { ImageDeleteService } from './image-delete.service';
import { ImageFilesService } from './image-files.service';
import { ImageFileUploadService } from './image-file-upload.service';
import { created, ImageMetadataService } from './image-metadata.service';
import { ImageReadsService } from './image-reads.service';

@ApiTags('images (OpenStack)')
@Controller('v2/images')
export class GlanceImagesController {
  constructor(
    private readonly reads: ImageReadsService,
    private readonly files: ImageFilesService,
    private readonly deletions: ImageDeleteService,
    private readonly metadata: ImageMetadataService,
    private readonly uploads: ImageFileUploadService,
  ) {}

  @Post()
  @Permits('ims:images:create')
  @Documents({
    operation: 'GlanceCreateImageMetadata',
    summary: 'Create an image that gets its bytes later',
    since: 'v2',
    status: 201,
    answer: glanceImage,
  })
  async create(
    @Caller() caller: Call,
    @Body({ schema: imageMetadataRequest }) body: ImageMetadataRequest,
  ): Promise<Answer> {
    return created(await this.metadata.create(caller, body));
  }

  @Get()
  @Permits('ims:images:list')
  @Documents({ operation: 'GlanceListImages', summary: 'List images', since: 'v2', answer: glanceImageList })
  list(
    @Caller() caller: Call,
    @Query({ schema: listGlanceImagesQuery }) query: ListGlanceImagesQuery,
    @RawQuery() rawQuery: string,
  ): Promise<GlanceImageList> {
    return this.reads.listGlance(caller, query, rawQuery);
  }

  @Get(':image_id')
  @Permits('ims:images:get')
  @Documents({ operation: 'GlanceShowImage', summary: 'Show an image', since: 'v2', answer: glanceImage })
  show(@Caller() caller: Call, @Param('image_id') id: string): Promise<GlanceImage> {
    return this.reads.showGlance(caller, id);
  }

  @Put(':image_id/file')
  @Permits('ims:images:get', 'ims:images:update', 'ims:images:upload')
  @Documents({ operation: 'GlanceUploadImage', summary: 'Upload the bytes of an image', since: 'v2', status: 204 })
  upload(@Caller() caller: Call, @Param('image_id') id: string, @UploadBody() upload: Upload): Promise<void> {
    return this.uploads.upload(caller, id, upload);
  }

  @Get(':image_id/file')
  @Permits('ims:images:get')
  @Documents({
    operation: 'GlanceDownloadImage',
    summary: 'Download the bytes of an image',
    since: 'v2',
    produces: 'application/octet-stream',
  })
  download(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Query('format') format: string | undefined,
    @Headers('range') range: string | undefined,
    @Headers('if-range') ifRange: string | undefined,
  ): Promise<Answer> {
    return this.files.download(caller, { id, format, range, ifRange });
  }

  @Delete(':image_id')
  @Permits('ims:images:delete')
  @Documents({ operation: 'GlanceDeleteImage', summary: 'Delete an image', since: 'v2', status: 204 })
  remove(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: deleteImageRequest.optional() }) options: DeleteImageRequest | undefined,
  ): Promise<void> {
    return this.deletions.remove(caller, id, options);
  }
}
