import { Controller, Get, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { type ListImagesQuery, listImagesQuery } from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import type { Answer } from '../http/answer';
import { Documents } from '../http/documents';
import { ImageCsvService } from './image-csv.service';

@ApiTags('images')
@Controller('v2/cloudimages')
export class ImageCsvController {
  constructor(private readonly service: ImageCsvService) {}

  @Get('csv')
  @Permits('ims:images:list')
  @Documents({
    operation: 'ExportImageList',
    summary: 'The list of images as a CSV file: all that the filters find',
    since: 'v2',
    produces: 'text/csv',
  })
  list(@Caller() caller: Call, @Query({ schema: listImagesQuery }) query: ListImagesQuery): Promise<Answer> {
    return this.service.list(caller, query);
  }
}
