import { Body, Controller, Headers, Param, Patch } from '@nestjs/common';
import { ApiConsumes, ApiTags } from '@nestjs/swagger';
import {
  type CloudImage,
  cloudImage,
  GLANCE_PATCH_TYPES,
  type GlanceImage,
  glanceImage,
  type GlanceUpdateImageRequest,
  glanceUpdateImageRequest,
  type UpdateImageRequest,
  updateImageRequest,
} from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import { Documents } from '../http/documents';
import { ImageUpdateService } from './image-update.service';

@ApiTags('images')
@Controller('v2/cloudimages')
export class ImageUpdateController {
  constructor(private readonly service: ImageUpdateService) {}

  @Patch(':image_id')
  @Permits('ims:images:update')
  @Documents({
    operation: 'UpdateImage',
    summary: 'Change what an image says of itself',
    since: 'v2',
    answer: cloudImage,
  })
  update(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: updateImageRequest }) body: UpdateImageRequest,
  ): Promise<CloudImage> {
    return this.service.update(caller, id, body);
  }
}

@ApiTags('images (OpenStack)')
@Controller('v2/images')
export class GlanceImageUpdateController {
  constructor(private readonly service: ImageUpdateService) {}

  @Patch(':image_id')
  @Permits('ims:images:update')
  @ApiConsumes(...GLANCE_PATCH_TYPES)
  @Documents({
    operation: 'GlanceUpdateImage',
    summary: 'Change what an image says of itself',
    since: 'v2',
    answer: glanceImage,
  })
  update(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: glanceUpdateImageRequest }) body: GlanceUpdateImageRequest,
    @Headers('content-type') contentType: string | undefined,
  ): Promise<GlanceImage> {
    return this.service.updateGlance(caller, id, body, contentType);
  }
}
