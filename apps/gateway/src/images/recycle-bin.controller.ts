import { Body, Controller, Delete, Get, Param, Post, Put, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type RecycleBin,
  recycleBin,
  type RecycleBinQuery,
  recycleBinQuery,
  type RecycleBinRequest,
  recycleBinRequest,
} from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import { Documents } from '../http/documents';
import { RecycleBinService } from './recycle-bin.service';

@ApiTags('images')
@Controller('v1/cloudimages')
export class RecycleBinController {
  constructor(private readonly service: RecycleBinService) {}

  @Get('recycle-bin')
  @Permits('ims:images:list')
  @Documents({
    operation: 'ShowRecycleBin',
    summary: 'List deleted images that can be restored, and for how long they stay',
    since: 'v1',
    answer: recycleBin,
  })
  show(@Caller() caller: Call, @Query({ schema: recycleBinQuery }) query: RecycleBinQuery): Promise<RecycleBin> {
    return this.service.show(caller, query);
  }

  @Put('recycle-bin')
  @Permits('ims:images:update')
  @Documents({
    operation: 'UpdateRecycleBin',
    summary: 'Choose for how many days deleted images of the project stay',
    since: 'v1',
    status: 204,
  })
  choose(@Caller() caller: Call, @Body({ schema: recycleBinRequest }) body: RecycleBinRequest): Promise<void> {
    return this.service.choose(caller, body);
  }

  @Post(':image_id/restore')
  @Permits('ims:images:create')
  @Documents({
    operation: 'RestoreImage',
    summary: 'Take an image out of the recycle bin as it went in',
    since: 'v1',
    status: 204,
  })
  restore(@Caller() caller: Call, @Param('image_id') id: string): Promise<void> {
    return this.service.restore(caller, id);
  }

  @Delete('recycle-bin/:image_id')
  @Permits('ims:images:delete')
  @Documents({
    operation: 'PurgeImage',
    summary: 'Remove an image from the recycle bin for good',
    since: 'v1',
    status: 204,
  })
  purge(@Caller() caller: Call, @Param('image_id') id: string): Promise<void> {
    return this.service.purge(caller, id);
  }
}
