import { Body, Controller, Get, Put } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { type QuotaAnswer, quotaAnswer, type SetQuotaRequest, setQuotaRequest } from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import { Documents } from '../http/documents';
import { QuotasService } from './quotas.service';

@ApiTags('quotas')
@Controller('v1')
export class QuotasController {
  constructor(private readonly service: QuotasService) {}

  @Get(['cloudimages/quota', ':project_id/cloudimages/quota'])
  @Permits('ims:quotas:get')
  @Documents({
    operation: 'ShowImageQuota',
    summary: 'Show the quota of private images',
    since: 'v1',
    answer: quotaAnswer,
  })
  show(@Caller() caller: Call): Promise<QuotaAnswer> {
    return this.service.show(caller);
  }

  @Put('cloudimages/quota')
  @Permits('ims:quotas:update')
  @Documents({
    operation: 'UpdateImageQuota',
    summary: 'Set what a project may have; for the operator of the platform',
    since: 'v1',
    answer: quotaAnswer,
  })
  set(@Caller() caller: Call, @Body({ schema: setQuotaRequest }) body: SetQuotaRequest): Promise<QuotaAnswer> {
    return this.service.set(caller, body);
  }
}
