import { Body, Controller, Delete, Get, Param, Post, Put } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type DeprecationRequest,
  deprecationRequest,
  type LegalHold,
  legalHold,
  type ReasonedRequest,
  reasonedRequest,
  type Revocation,
  revocation,
  type TakenBackRequest,
  takenBackRequest,
} from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import { Documents } from '../http/documents';
import { ImageStatesService } from './image-states.service';

@ApiTags('images')
@Controller('v1/cloudimages/:image_id')
export class ImageStatesController {
  constructor(private readonly service: ImageStatesService) {}

  @Put('legal-hold')
  @Permits('ims:images:hold')
  @Documents({
    operation: 'HoldImage',
    summary: 'Lay a legal hold on an image: nothing deletes or purges it',
    since: 'v1',
    answer: legalHold,
  })
  hold(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: reasonedRequest }) body: ReasonedRequest,
  ): Promise<LegalHold> {
    return this.service.hold(caller, id, body);
  }

  @Delete('legal-hold')
  @Permits('ims:images:hold')
  @Documents({ operation: 'ReleaseImage', summary: 'Release the legal hold on an image', since: 'v1', status: 204 })
  releaseHold(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: takenBackRequest.optional() }) body: TakenBackRequest | undefined,
  ): Promise<void> {
    return this.service.releaseHold(caller, id, body);
  }

  @Get('legal-hold')
  @Permits('ims:images:get')
  @Documents({ operation: 'ShowImageHold', summary: 'Show the legal hold on an image', since: 'v1', answer: legalHold })
  showHold(@Caller() caller: Call, @Param('image_id') id: string): Promise<LegalHold> {
    return this.service.showHold(caller, id);
  }

  @Put('deprecation')
  @Permits('ims:images:update')
  @Documents({
    operation: 'DeprecateImage',
    summary: 'Tell users of an image to use another one from some time on',
    since: 'v1',
    status: 204,
  })
  deprecate(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: deprecationRequest }) body: DeprecationRequest,
  ): Promise<void> {
    return this.service.deprecate(caller, id, body);
  }

  @Delete('deprecation')
  @Permits('ims:images:update')
  @Documents({ operation: 'EndImageDeprecation', summary: 'Take a deprecation back', since: 'v1', status: 204 })
  endDeprecation(@Caller() caller: Call, @Param('image_id') id: string): Promise<void> {
    return this.service.endDeprecation(caller, id);
  }

  @Put('revocation')
  @Permits('ims:images:revoke')
  @Documents({
    operation: 'RevokeImage',
    summary: 'Revoke an image: neither it nor what descends from it makes servers and disks',
    since: 'v1',
    answer: revocation,
  })
  revoke(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: reasonedRequest }) body: ReasonedRequest,
  ): Promise<Revocation> {
    return this.service.revoke(caller, id, body);
  }

  @Delete('revocation')
  @Permits('ims:images:revoke')
  @Documents({ operation: 'ReinstateImage', summary: 'Take a revocation back', since: 'v1', status: 204 })
  reinstate(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: takenBackRequest.optional() }) body: TakenBackRequest | undefined,
  ): Promise<void> {
    return this.service.reinstate(caller, id, body);
  }
}

@ApiTags('images (OpenStack)')
@Controller('v2/images/:image_id/actions')
export class GlanceImageActionsController {
  constructor(private readonly service: ImageStatesService) {}

  @Post('deactivate')
  @Permits('ims:images:update')
  @Documents({
    operation: 'GlanceDeactivateImage',
    summary: 'Take an image out of use: it gives no bytes and makes no servers',
    since: 'v2',
    status: 204,
  })
  deactivate(@Caller() caller: Call, @Param('image_id') id: string): Promise<void> {
    return this.service.deactivate(caller, id);
  }

  @Post('reactivate')
  @Permits('ims:images:update')
  @Documents({
    operation: 'GlanceReactivateImage',
    summary: 'Put a deactivated image back into use',
    since: 'v2',
    status: 204,
  })
  reactivate(@Caller() caller: Call, @Param('image_id') id: string): Promise<void> {
    return this.service.reactivate(caller, id);
  }
}
