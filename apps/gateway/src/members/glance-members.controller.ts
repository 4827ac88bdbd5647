import { Body, Controller, Delete, Get, Param, Post, Put, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type AddMemberRequest,
  addMemberRequest,
  type ImageMember,
  imageMember,
  type ImageMemberList,
  imageMemberList,
  type ListMembersQuery,
  listMembersQuery,
  type UpdateMemberRequest,
  updateMemberRequest,
} from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import { Documents } from '../http/documents';
import { MembersService } from './members.service';

@ApiTags('members (OpenStack)')
@Controller('v2/images/:image_id/members')
export class GlanceMembersController {
  constructor(private readonly service: MembersService) {}

  @Post()
  @Permits('ims:images:get', 'ims:images:share')
  @Documents({ operation: 'GlanceAddImageMember', summary: 'Share an image', since: 'v2', answer: imageMember })
  add(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: addMemberRequest }) body: AddMemberRequest,
  ): Promise<ImageMember> {
    return this.service.add(caller, id, body);
  }

  @Get()
  @Permits('ims:images:get', 'ims:images:share')
  @Documents({
    operation: 'GlanceListImageMembers',
    summary: 'List whom an image is shared with',
    since: 'v2',
    answer: imageMemberList,
  })
  list(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Query({ schema: listMembersQuery }) query: ListMembersQuery,
  ): Promise<ImageMemberList> {
    return this.service.list(caller, id, query);
  }

  @Get(':member_id')
  @Permits('ims:images:get', 'ims:images:share')
  @Documents({
    operation: 'GlanceShowImageMember',
    summary: 'Show a member of an image',
    since: 'v2',
    answer: imageMember,
  })
  show(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Param('member_id') memberId: string,
  ): Promise<ImageMember> {
    return this.service.show(caller, id, memberId);
  }

  @Put(':member_id')
  @Permits('ims:images:get', 'ims:images:share')
  @Documents({
    operation: 'GlanceUpdateImageMember',
    summary: 'Accept or reject an image that somebody shares',
    since: 'v2',
    answer: imageMember,
  })
  update(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Param('member_id') memberId: string,
    @Body({ schema: updateMemberRequest }) body: UpdateMemberRequest,
  ): Promise<ImageMember> {
    return this.service.update(caller, id, memberId, body);
  }

  @Delete(':member_id')
  @Permits('ims:images:get', 'ims:images:share')
  @Documents({
    operation: 'GlanceDeleteImageMember',
    summary: 'Share an image no longer, or give it back',
    since: 'v2',
    status: 204,
  })
  remove(@Caller() caller: Call, @Param('image_id') id: string, @Param('member_id') memberId: string): Promise<void> {
    return this.service.remove(caller, id, memberId);
  }
}
