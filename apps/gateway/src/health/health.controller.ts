import { Controller, Get } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Public } from '../access/permits';
import type { Answer } from '../http/answer';
import { Documents } from '../http/documents';
import { HealthService } from './health.service';

@ApiTags('health')
@Controller()
export class HealthController {
  constructor(private readonly service: HealthService) {}

  @Get('healthz')
  @Public()
  @Documents({
    operation: 'ShowLiveness',
    summary: 'Whether the process answers',
    since: 'v1',
    produces: 'application/json',
  })
  live(): { status: 'ok' } {
    return this.service.live();
  }

  @Get('readyz')
  @Public()
  @Documents({
    operation: 'ShowReadiness',
    summary: 'Whether the process can serve',
    since: 'v1',
    produces: 'application/json',
  })
  ready(): Promise<Answer> {
    return this.service.ready();
  }
}
