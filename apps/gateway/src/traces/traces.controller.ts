import { Controller, Get, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { type ListTracesQuery, listTracesQuery, type TracesAnswer, tracesAnswer } from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import { Documents } from '../http/documents';
import { TracesService } from './traces.service';

@ApiTags('audit')
@Controller('v3')
export class TracesController {
  constructor(private readonly service: TracesService) {}

  @Get(':project_id/traces')
  @Permits('cts:trace:list')
  @Documents({ operation: 'ListTraces', summary: 'List traces', since: 'v3', answer: tracesAnswer })
  list(@Caller() caller: Call, @Query({ schema: listTracesQuery }) query: ListTracesQuery): Promise<TracesAnswer> {
    return this.service.list(caller, query);
  }
}
