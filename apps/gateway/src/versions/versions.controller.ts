import { Controller, Get, Param } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { type ApiVersions, apiVersions } from '@ims/contract';
import { Public } from '../access/permits';
import { Documents } from '../http/documents';
import { VersionsService } from './versions.service';

@ApiTags('versions')
@Controller()
export class VersionsController {
  constructor(private readonly service: VersionsService) {}

  @Get()
  @Public()
  @Documents({
    operation: 'ListVersions',
    summary: 'List the API versions',
    since: 'v2',
    status: 300,
    answer: apiVersions,
  })
  list(): ApiVersions {
    return this.service.list();
  }

  // glanceclient asks here first and, unlike at the root, expects 200 (ims-api 12.10).
  @Get('versions')
  @Public()
  @Documents({
    operation: 'ListVersionsOfGlance',
    summary: 'List the API versions (OpenStack clients)',
    since: 'v2',
    answer: apiVersions,
  })
  listForGlance(): ApiVersions {
    return this.service.list();
  }

  @Get('v2')
  @Public()
  @Documents({
    operation: 'ListVersionsOfV2',
    summary: 'List the API versions',
    since: 'v2',
    status: 300,
    answer: apiVersions,
  })
  listOfV2(): ApiVersions {
    return this.service.list();
  }

  @Get(':version')
  @Public()
  @Documents({
    operation: 'ShowVersion',
    summary: 'Show one API version',
    since: 'v2',
    status: 300,
    answer: apiVersions,
  })
  show(@Param('version') version: string): ApiVersions {
    return this.service.show(version);
  }
}
