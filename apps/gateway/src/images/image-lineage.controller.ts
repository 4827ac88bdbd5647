import { Controller, Get, Param } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { type ImageLineageAnswer, imageLineageAnswer } from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import { Documents } from '../http/documents';
import { ImageLineageService } from './image-lineage.service';

@ApiTags('images')
@Controller('v1/cloudimages')
export class ImageLineageController {
  constructor(private readonly service: ImageLineageService) {}

  @Get(':image_id/lineage')
  @Permits('ims:images:get')
  @Documents({
    operation: 'ShowImageLineage',
    summary: 'Show what an image was made from, and what was made of it',
    since: 'v1',
    answer: imageLineageAnswer,
  })
  show(@Caller() caller: Call, @Param('image_id') id: string): Promise<ImageLineageAnswer> {
    return this.service.show(caller, id);
  }
}
