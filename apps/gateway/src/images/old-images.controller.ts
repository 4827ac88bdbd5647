import { Body, Controller, Delete, Get, Head, Param, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type DeleteImageRequest,
  deleteImageRequest,
  imageListV1,
  type ImageListV1,
  type ListImagesV1Query,
  listImagesV1Query,
} from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import { Answer } from '../http/answer';
import { Documents } from '../http/documents';
import { ImageDeleteService } from './image-delete.service';
import { ImageReadsService } from './image-reads.service';
import { headersOfImage, toImageV1 } from './image.v1';

/** What is left of the image API before version 2, for clients that still speak it (ims-api 3.3). */
@ApiTags('images (OpenStack)')
@Controller()
export class OldImagesController {
  constructor(
    private readonly reads: ImageReadsService,
    private readonly deletions: ImageDeleteService,
  ) {}

  @Get('v1.1/images/detail')
  @Permits('ims:images:list')
  @Documents({ operation: 'ListImagesDetail', summary: 'List images (v1.1)', since: 'v1.1', answer: imageListV1 })
  list(@Caller() caller: Call, @Query({ schema: listImagesV1Query }) query: ListImagesV1Query): Promise<ImageListV1> {
    return this.reads.listV1(caller, query);
  }

  @Head('v1/images/:image_id')
  @Permits('ims:images:get')
  @Documents({ operation: 'ShowImageMetadata', summary: 'Show an image in headers (v1)', since: 'v1' })
  async show(@Caller() caller: Call, @Param('image_id') id: string): Promise<Answer> {
    return new Answer(200, undefined, headersOfImage(toImageV1(await this.reads.find(caller, id))));
  }

  @Delete('v1.1/images/:image_id')
  @Permits('ims:images:delete')
  @Documents({ operation: 'DeleteImageV11', summary: 'Delete an image (v1.1)', since: 'v1.1', status: 204 })
  remove(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: deleteImageRequest.optional() }) options: DeleteImageRequest | undefined,
  ): Promise<void> {
    return this.deletions.remove(caller, id, options);
  }
}
