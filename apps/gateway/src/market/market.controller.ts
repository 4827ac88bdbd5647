import { Body, Controller, Get, Param, Post, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type MarketActionRequest,
  marketActionRequest,
  marketListing,
  marketListings,
  type MarketListingsQuery,
  marketListingsQuery,
} from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import { Documents } from '../http/documents';
import { MarketService } from './market.service';

/** Not in the vendor's API, whose marketplace is a service of its own (SVC-10). */
@ApiTags('market')
@Controller('v1')
export class MarketController {
  constructor(private readonly service: MarketService) {}

  @Get('market/listings')
  @Permits('ims:images:list')
  @Documents({
    operation: 'ListMarketListings',
    summary: 'List what the project sells or wants to; everybody’s for whoever runs the market',
    since: 'v1',
    answer: marketListings,
  })
  list(@Caller() caller: Call, @Query({ schema: marketListingsQuery }) query: MarketListingsQuery) {
    return this.service.list(caller, query);
  }

  @Post('cloudimages/:image_id/market/action')
  @Permits('ims:images:get', 'ims:images:update')
  @Documents({
    operation: 'ChangeMarketListing',
    summary: 'Publish an image on the marketplace, approve, refuse or withdraw it',
    since: 'v1',
    answer: marketListing,
  })
  act(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: marketActionRequest }) body: MarketActionRequest,
  ) {
    return this.service.act(caller, id, body);
  }
}
