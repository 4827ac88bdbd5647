import { Controller, Get, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { type ListOsVersionsQuery, listOsVersionsQuery, type OsVersionList, osVersionList } from '@ims/contract';
import { Permits } from '../access/permits';
import { Documents } from '../http/documents';
import { osVersionsOf } from './os-versions';

@ApiTags('images')
@Controller('v1/cloudimages')
export class OsVersionsController {
  @Get('os_version')
  @Permits('ims:images:list')
  @Documents({
    operation: 'ListOsVersions',
    summary: 'List the operating systems that an image may have',
    since: 'v1',
    answer: osVersionList,
  })
  list(@Query({ schema: listOsVersionsQuery }) query: ListOsVersionsQuery): OsVersionList {
    return osVersionsOf(query);
  }
}
