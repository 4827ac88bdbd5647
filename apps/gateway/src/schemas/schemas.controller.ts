import { Controller, Get } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { ForAccount } from '../access/permits';
import { Documents } from '../http/documents';
import { SCHEMA_DOCUMENTS } from './schema-documents';

@ApiTags('schemas')
@Controller('v2/schemas')
export class SchemasController {
  @Get('image')
  @ForAccount()
  @Documents({
    operation: 'GlanceShowImageSchemas',
    summary: 'Schema of an image',
    since: 'v2',
    produces: 'application/json',
  })
  image(): object {
    return SCHEMA_DOCUMENTS.image;
  }

  @Get('images')
  @ForAccount()
  @Documents({
    operation: 'GlanceListImageSchemas',
    summary: 'Schema of a list of images',
    since: 'v2',
    produces: 'application/json',
  })
  images(): object {
    return SCHEMA_DOCUMENTS.images;
  }

  @Get('member')
  @ForAccount()
  @Documents({
    operation: 'GlanceShowImageMemberSchemas',
    summary: 'Schema of an image member',
    since: 'v2',
    produces: 'application/json',
  })
  member(): object {
    return SCHEMA_DOCUMENTS.member;
  }

  @Get('members')
  @ForAccount()
  @Documents({
    operation: 'GlanceListImageMemberSchemas',
    summary: 'Schema of a list of image members',
    since: 'v2',
    produces: 'application/json',
  })
  members(): object {
    return SCHEMA_DOCUMENTS.members;
  }
}
