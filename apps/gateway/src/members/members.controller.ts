import { Body, Controller, Delete, Get, Param, Post, Put, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type BatchMembersRequest,
  batchMembersRequest,
  type BatchUpdateMembersRequest,
  batchUpdateMembersRequest,
  type ImageMember,
  imageMember,
  type ImageMemberList,
  imageMemberList,
  type JobAccepted,
  jobAccepted,
  type ListMembersQuery,
  listMembersQuery,
} from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import { Documents } from '../http/documents';
import { MembersService } from './members.service';

@ApiTags('members')
@Controller('v1')
export class MembersController {
  constructor(private readonly service: MembersService) {}

  @Post('cloudimages/members')
  @Permits('ims:images:share')
  @Documents({ operation: 'BatchAddMembers', summary: 'Share images', since: 'v1', answer: jobAccepted })
  share(
    @Caller() caller: Call,
    @Body({ schema: batchMembersRequest }) body: BatchMembersRequest,
  ): Promise<JobAccepted> {
    return this.service.share(caller, body);
  }

  @Put('cloudimages/members')
  @Permits('ims:images:share')
  @Documents({
    operation: 'BatchUpdateMembers',
    summary: 'Accept or reject images that others share',
    since: 'v1',
    answer: jobAccepted,
  })
  answer(
    @Caller() caller: Call,
    @Body({ schema: batchUpdateMembersRequest }) body: BatchUpdateMembersRequest,
  ): Promise<JobAccepted> {
    return this.service.answer(caller, body);
  }

  @Delete('cloudimages/members')
  @Permits('ims:images:share')
  @Documents({ operation: 'BatchDeleteMembers', summary: 'Share images no longer', since: 'v1', answer: jobAccepted })
  unshare(
    @Caller() caller: Call,
    @Body({ schema: batchMembersRequest }) body: BatchMembersRequest,
  ): Promise<JobAccepted> {
    return this.service.unshare(caller, body);
  }

  @Get(':project_id/cloudimages/:image_id/members')
  @Permits('ims:images:get')
  @Documents({
    operation: 'ListImageMembers',
    summary: 'List whom an image is shared with',
    since: 'v1',
    answer: imageMemberList,
  })
  list(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Query({ schema: listMembersQuery }) query: ListMembersQuery,
  ): Promise<ImageMemberList> {
    return this.service.list(caller, id, query);
  }

  @Get(':project_id/cloudimages/:image_id/members/:member_id')
  @Permits('ims:images:get')
  @Documents({ operation: 'ShowImageMember', summary: 'Show a member of an image', since: 'v1', answer: imageMember })
  show(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Param('member_id') memberId: string,
  ): Promise<ImageMember> {
    return this.service.show(caller, id, memberId);
  }
}
