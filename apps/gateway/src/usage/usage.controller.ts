import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type ListSdrRecordsQuery,
  listSdrRecordsQuery,
  type ListUsageQuery,
  listUsageQuery,
  type SdrRecordList,
  sdrRecordList,
  type UsageList,
  usageList,
  type UsageSummary,
  usageSummary,
  type UsageWindowQuery,
  usageWindowQuery,
} from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import type { Answer } from '../http/answer';
import { Documents } from '../http/documents';
import { UsageService } from './usage.service';

/** Not in the vendor's API, whose bills come from a service of their own; the action is ours too. */
@ApiTags('usage')
@Controller('v1')
export class UsageController {
  constructor(private readonly service: UsageService) {}

  @Get(':project_id/usage')
  @Permits('ims:usage:list')
  @Documents({ operation: 'ListUsage', summary: 'List what was used, hour by hour', since: 'v1', answer: usageList })
  list(@Caller() caller: Call, @Query({ schema: listUsageQuery }) query: ListUsageQuery): Promise<UsageList> {
    return this.service.list(caller, query);
  }

  @Get(':project_id/usage/summary')
  @Permits('ims:usage:list')
  @Documents({ operation: 'ShowUsageSummary', summary: 'Show sums of usage', since: 'v1', answer: usageSummary })
  summary(@Caller() caller: Call, @Query({ schema: usageWindowQuery }) query: UsageWindowQuery): Promise<UsageSummary> {
    return this.service.summary(caller, query);
  }

  @Get(':project_id/usage/focus')
  @Permits('ims:usage:list')
  @Documents({ operation: 'ExportUsage', summary: 'Export usage by FOCUS 1.2', since: 'v1', produces: 'text/csv' })
  focus(@Caller() caller: Call, @Query({ schema: usageWindowQuery }) query: UsageWindowQuery): Answer {
    return this.service.focus(caller, query);
  }

  @Get('sdr-meters/:sdr_meter/records')
  @Permits('ims:usage:list')
  @Documents({ operation: 'ListSdrMeterRecords', summary: 'Pull usage records', since: 'v1', answer: sdrRecordList })
  sdrRecords(
    @Caller() caller: Call,
    @Param('sdr_meter') meter: string,
    @Query({ schema: listSdrRecordsQuery }) query: ListSdrRecordsQuery,
  ): Promise<SdrRecordList> {
    return this.service.sdrRecords(caller, meter, query);
  }
}
