import { Body, Controller, Delete, Get, Param, Post, Put, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type AddImageTagRequest,
  addImageTagRequest,
  type BatchDeleteTagsRequest,
  batchDeleteTagsRequest,
  type BatchTagsRequest,
  batchTagsRequest,
  type FindByTagsRequest,
  findByTagsRequest,
  type ImagesByTags,
  imagesByTags,
  type ImageTagList,
  imageTagList,
  type ListTagsQuery,
  listTagsQuery,
  type ProjectTagList,
  projectTagList,
  type PutTagRequest,
  putTagRequest,
  type TagList,
  tagList,
} from '@ims/contract';
import { type Call, Caller, Permits } from '../access/permits';
import { Documents } from '../http/documents';
import { TagsService } from './tags.service';

const NO_CONTENT = 204;

/** Tags by key and value (ims-api 8). */
@ApiTags('tags')
@Controller()
export class TagsController {
  constructor(private readonly service: TagsService) {}

  @Put('v1/cloudimages/tags')
  @Permits('ims:images:get', 'ims:images:update')
  @Documents({ operation: 'CreateOrUpdateTags', summary: 'Set a tag of an image', since: 'v1', status: NO_CONTENT })
  put(@Caller() caller: Call, @Body({ schema: putTagRequest }) body: PutTagRequest): Promise<void> {
    return this.service.put(caller, body);
  }

  @Get('v1/cloudimages/tags')
  @Permits('ims:images:list')
  @Documents({ operation: 'ListTags', summary: 'List the tags of images', since: 'v1', answer: tagList })
  list(@Caller() caller: Call, @Query({ schema: listTagsQuery }) query: ListTagsQuery): Promise<TagList> {
    return this.service.list(caller, query);
  }

  @Post('v2/:project_id/images/resource_instances/action')
  @Permits('ims:images:list')
  @Documents({
    operation: 'ListImageByTags',
    summary: 'Find or count images by their tags',
    since: 'v2',
    answer: imagesByTags,
  })
  find(@Caller() caller: Call, @Body({ schema: findByTagsRequest }) body: FindByTagsRequest): Promise<ImagesByTags> {
    return this.service.find(caller, body);
  }

  @Get('v2/:project_id/images/tags')
  @Permits('ims:images:list')
  @Documents({
    operation: 'ListImagesTags',
    summary: 'List the tags of all images of a project',
    since: 'v2',
    answer: projectTagList,
  })
  ofProject(@Caller() caller: Call): Promise<ProjectTagList> {
    return this.service.ofProject(caller);
  }

  @Get('v2/:project_id/images/:image_id/tags')
  @Permits('ims:images:list')
  @Documents({ operation: 'ListImageTags', summary: 'List the tags of an image', since: 'v2', answer: imageTagList })
  ofImage(@Caller() caller: Call, @Param('image_id') id: string): Promise<ImageTagList> {
    return this.service.ofImage(caller, id);
  }

  @Post('v2/:project_id/images/:image_id/tags')
  @Permits('ims:images:update')
  @Documents({ operation: 'AddImageTag', summary: 'Set a tag of an image', since: 'v2', status: NO_CONTENT })
  add(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: addImageTagRequest }) body: AddImageTagRequest,
  ): Promise<void> {
    return this.service.add(caller, id, body);
  }

  @Post('v2/:project_id/images/:image_id/tags/action')
  @Permits('ims:images:update')
  @Documents({
    operation: 'BatchAddOrDeleteTags',
    summary: 'Set or remove several tags of an image',
    since: 'v2',
    status: NO_CONTENT,
  })
  change(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: batchTagsRequest }) body: BatchTagsRequest,
  ): Promise<void> {
    return this.service.change(caller, id, body);
  }

  @Delete('v2/:project_id/images/:image_id/tags/:key')
  @Permits('ims:images:update')
  @Documents({ operation: 'DeleteImageTag', summary: 'Remove a tag of an image', since: 'v2', status: NO_CONTENT })
  remove(@Caller() caller: Call, @Param('image_id') id: string, @Param('key') key: string): Promise<void> {
    return this.service.remove(caller, id, key);
  }

  @Delete('v1/:project_id/cloudimages/:image_id/tags/delete')
  @Permits('ims:images:update')
  @Documents({
    operation: 'BatchDeleteTags',
    summary: 'Remove several tags of an image',
    since: 'v1',
    status: NO_CONTENT,
  })
  removeAll(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: batchDeleteTagsRequest }) body: BatchDeleteTagsRequest,
  ): Promise<void> {
    return this.service.removeAll(caller, id, body);
  }
}

/** Tags that are single words (ims-api 12.9). */
@ApiTags('images (OpenStack)')
@Controller('v2/images')
export class GlanceTagsController {
  constructor(private readonly service: TagsService) {}

  @Put(':image_id/tags/:tag')
  @Permits('ims:images:get', 'ims:images:update')
  @Documents({ operation: 'GlanceCreateTag', summary: 'Tag an image', since: 'v2', status: NO_CONTENT })
  put(@Caller() caller: Call, @Param('image_id') id: string, @Param('tag') tag: string): Promise<void> {
    return this.service.putWord(caller, id, tag);
  }

  @Delete(':image_id/tags/:tag')
  @Permits('ims:images:get', 'ims:images:update')
  @Documents({ operation: 'GlanceDeleteTag', summary: 'Remove a tag of an image', since: 'v2', status: NO_CONTENT })
  remove(@Caller() caller: Call, @Param('image_id') id: string, @Param('tag') tag: string): Promise<void> {
    return this.service.removeWord(caller, id, tag);
  }
}
