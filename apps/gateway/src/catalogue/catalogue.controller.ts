import { Body, Controller, Get, Param, Put, Req } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type CatalogueDocument,
  catalogueDocument,
  catalogueList,
  catalogueLoaded,
  catalogueVerification,
} from '@ims/contract';
import type { FastifyRequest } from 'fastify';
import { type Call, Caller, Permits } from '../access/permits';
import { Documents } from '../http/documents';
import { CatalogueService } from './catalogue.service';

/** Not in the vendor's API, whose platform keeps its public images by itself. */
@ApiTags('catalogue')
@Controller('v1/catalogue')
export class CatalogueController {
  constructor(private readonly service: CatalogueService) {}

  @Get()
  @Permits('ims:images:list')
  @Documents({
    operation: 'ListCatalogue',
    summary: 'List public images with their sources and digests',
    since: 'v1',
    answer: catalogueList,
  })
  list() {
    return this.service.list();
  }

  @Put()
  @Permits('ims:images:create', 'ims:images:update', 'ims:images:delete')
  @Documents({
    operation: 'LoadCatalogue',
    summary: 'Load the catalogue of public images; for the operator of the platform',
    since: 'v1',
    answer: catalogueLoaded,
  })
  load(@Caller() caller: Call, @Body({ schema: catalogueDocument }) body: CatalogueDocument) {
    return this.service.load(caller, body);
  }

  @Get(':image_id/verification')
  @Permits('ims:images:get')
  @Documents({
    operation: 'ShowCatalogueVerification',
    summary:
      'Compare what is stored of a public image with its digest in the catalogue; for the operator of the platform',
    since: 'v1',
    answer: catalogueVerification,
  })
  verify(@Caller() caller: Call, @Param('image_id') id: string, @Req() request: FastifyRequest) {
    // Nobody waits for it any more.
    const gone = new AbortController();
    request.raw.once('close', () => {
      if (request.raw.destroyed && !request.raw.complete) gone.abort();
    });
    return this.service.verify(caller, id, gone.signal);
  }
}
