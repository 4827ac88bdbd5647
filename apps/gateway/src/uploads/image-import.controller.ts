import { Body, Controller, Get, Param, Post, Put } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  IMPORT_METHODS,
  type ImportImageRequest,
  importImageRequest,
  importInfo,
  type ImportInfo,
  jobAccepted,
} from '@ims/contract';
import { type Call, Caller, ForProject, Permits } from '../access/permits';
import type { Answer } from '../http/answer';
import { Documents } from '../http/documents';
import { type Upload, UploadBody } from '../http/upload';
import { accepted } from '../jobs/accepted';
import { ImageImportService } from './image-import.service';

/** Interoperable image import, as OpenStack clients know it: the bytes first, or where they are; then the order to make the image of them. */
@ApiTags('images (OpenStack)')
@Controller('v2')
export class ImageImportController {
  constructor(private readonly service: ImageImportService) {}

  @Get('info/import')
  @ForProject()
  @Documents({ operation: 'GlanceShowImportInfo', summary: 'Ways to import an image', since: 'v2', answer: importInfo })
  info(): ImportInfo {
    const description = 'Import methods available.';
    return { 'import-methods': { description, type: 'array', value: [...IMPORT_METHODS] } };
  }

  @Put('images/:image_id/stage')
  @Permits('ims:images:get', 'ims:images:update', 'ims:images:upload')
  @Documents({ operation: 'GlanceStageImage', summary: 'Send the bytes of an image', since: 'v2', status: 204 })
  stage(@Caller() caller: Call, @Param('image_id') id: string, @UploadBody() upload: Upload): Promise<void> {
    return this.service.stage(caller, id, upload);
  }

  @Post('images/:image_id/import')
  @Permits('ims:images:get', 'ims:images:update', 'ims:images:upload')
  @Documents({
    operation: 'GlanceImportImage',
    summary: 'Make the image of bytes that were staged, or of a file of the web',
    since: 'v2',
    status: 202,
    answer: jobAccepted,
  })
  async import(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: importImageRequest }) request: ImportImageRequest,
  ): Promise<Answer> {
    return accepted(caller, await this.service.import(caller, id, request));
  }
}
