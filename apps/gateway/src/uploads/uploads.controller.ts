import { Body, Controller, Delete, Get, Options, Param, Patch, Post, UseInterceptors } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import {
  type CompleteUploadRequest,
  completeUploadRequest,
  jobAccepted,
  uploadState,
  type UploadState,
} from '@ims/contract';
import { type Call, Caller, Permits, Public } from '../access/permits';
import { Answer } from '../http/answer';
import { Documents } from '../http/documents';
import { TakesNoKey } from '../idempotency/idempotent';
import { type Upload, UploadBody } from '../http/upload';
import { accepted } from '../jobs/accepted';
import { TUS_EXTENSIONS, TUS_VERSION, TusInterceptor, UploadLength, UploadOffset } from './tus';
import { MAX_UPLOAD_BYTES } from './staging-refusal';
import { UploadsService, type UploadUnderWay } from './uploads.service';

/** The bytes of an image over many requests, in the words of tus 1.0: one upload for each image that waits for bytes. */
@ApiTags('uploads')
@Controller('v2/images/:image_id/upload')
@UseInterceptors(TusInterceptor)
export class UploadsController {
  constructor(private readonly service: UploadsService) {}

  @Options()
  @Public()
  @Documents({ operation: 'DescribeUploads', summary: 'What uploads can do', since: 'v2', status: 204 })
  describe(): Answer {
    return new Answer(204, undefined, {
      'Tus-Version': TUS_VERSION,
      'Tus-Extension': TUS_EXTENSIONS,
      'Tus-Max-Size': MAX_UPLOAD_BYTES,
    });
  }

  @Post()
  @TakesNoKey('tus clients ask by HEAD or GET how far an upload is, and an image has one upload at a time')
  @Permits('ims:images:get', 'ims:images:update', 'ims:images:upload')
  @Documents({ operation: 'BeginUpload', summary: 'Begin an upload of several requests', since: 'v2', status: 201 })
  async begin(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @UploadLength() announcedBytes: number | undefined,
  ): Promise<Answer> {
    const upload = await this.service.begin(caller, id, announcedBytes);
    return new Answer(201, undefined, { Location: `/v2/images/${id}/upload`, ...headersOf(upload) });
  }

  @Get()
  @Permits('ims:images:get', 'ims:images:upload')
  @Documents({ operation: 'ShowUpload', summary: 'How far an upload is', since: 'v2', answer: uploadState })
  async show(@Caller() caller: Call, @Param('image_id') id: string): Promise<Answer> {
    const upload = await this.service.state(caller, id);
    const { offset, length, expiresAt } = upload;
    const body: UploadState = { offset, length, expires_at: expiresAt.toISOString() };
    return new Answer(200, body, headersOf(upload));
  }

  @Patch()
  @Permits('ims:images:get', 'ims:images:update', 'ims:images:upload')
  @Documents({ operation: 'AppendToUpload', summary: 'Add bytes to an upload', since: 'v2', status: 204 })
  async append(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @UploadOffset() offset: number,
    @UploadLength() announcedBytes: number | undefined,
    @UploadBody() upload: Upload,
  ): Promise<Answer> {
    return new Answer(
      204,
      undefined,
      headersOf(await this.service.append(caller, id, { offset, announcedBytes, upload })),
    );
  }

  @Delete()
  @Permits('ims:images:get', 'ims:images:update', 'ims:images:upload')
  @Documents({ operation: 'EndUpload', summary: 'Give an upload up', since: 'v2', status: 204 })
  end(@Caller() caller: Call, @Param('image_id') id: string): Promise<void> {
    return this.service.end(caller, id);
  }

  @Post('complete')
  @Permits('ims:images:get', 'ims:images:update', 'ims:images:upload')
  @Documents({
    operation: 'CompleteUpload',
    summary: 'Make the image of what was uploaded',
    since: 'v2',
    status: 202,
    answer: jobAccepted,
  })
  async complete(
    @Caller() caller: Call,
    @Param('image_id') id: string,
    @Body({ schema: completeUploadRequest.optional() }) request: CompleteUploadRequest | undefined,
  ): Promise<Answer> {
    return accepted(caller, await this.service.complete(caller, id, request));
  }
}

const headersOf = ({ offset, length, expiresAt }: UploadUnderWay): Record<string, string | number> => ({
  'Upload-Offset': offset,
  'Upload-Expires': expiresAt.toUTCString(),
  ...(length === null ? { 'Upload-Defer-Length': 1 } : { 'Upload-Length': length }),
});
