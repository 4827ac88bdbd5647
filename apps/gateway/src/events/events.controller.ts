import { Controller, Get, Headers, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type ListEventsQuery,
  listEventsQuery,
  type StreamEventsQuery,
  streamEventsQuery,
  type TrailEventsAnswer,
  trailEventsAnswer,
  type TrailStateAnswer,
  trailStateAnswer,
  type TrailStateQuery,
  trailStateQuery,
} from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import type { Answer } from '../http/answer';
import { Documents } from '../http/documents';
import { EventStreamService } from './event-stream.service';
import { EventsService } from './events.service';

/** The whole audit trail, as it is recorded (cts-api 8.5). Not in the vendor's API. */
@ApiTags('audit')
@Controller('v1/:project_id/events')
export class EventsController {
  constructor(
    private readonly service: EventsService,
    private readonly streams: EventStreamService,
  ) {}

  @Get()
  @Permits('cts:trace:list')
  @Documents({ operation: 'ListEvents', summary: 'List events', since: 'v1', answer: trailEventsAnswer })
  list(@Caller() caller: Call, @Query({ schema: listEventsQuery }) query: ListEventsQuery): Promise<TrailEventsAnswer> {
    return this.service.list(caller, query);
  }

  @Get('stream')
  @Permits('cts:trace:list')
  @Documents({ operation: 'StreamEvents', summary: 'Follow events', since: 'v1', produces: 'text/event-stream' })
  stream(
    @Caller() caller: Call,
    @Query({ schema: streamEventsQuery }) query: StreamEventsQuery,
    @Headers('last-event-id') lastEventId: string | undefined,
  ): Answer {
    return this.streams.stream(caller.projectId, query, lastEventId);
  }

  @Get('state')
  @Permits('cts:trace:list')
  @Documents({
    operation: 'ShowPastState',
    summary: 'Show a job, an image or a quota as it was',
    since: 'v1',
    answer: trailStateAnswer,
  })
  state(@Caller() caller: Call, @Query({ schema: trailStateQuery }) query: TrailStateQuery): Promise<TrailStateAnswer> {
    return this.service.state(caller, query);
  }
}
