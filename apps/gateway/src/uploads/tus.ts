import {
  type CallHandler,
  createParamDecorator,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import { ImsError } from '@ims/contract';
import { StagedFileBusyError, StagedFileMissingError, StagedOffsetError } from '@ims/staging';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { catchError, type Observable } from 'rxjs';
import { stagingRefusal } from './staging-refusal';

/** https://tus.io/protocols/resumable-upload (1.0.x). */
export const TUS_VERSION = '1.0.0';
export const TUS_EXTENSIONS = 'creation,creation-defer-length,expiration,termination';
export const TUS_MEDIA_TYPE = 'application/offset+octet-stream';

const NOT_FOUND = 404;
const CONFLICT = 409;
const PRECONDITION_FAILED = 412;
const UNSUPPORTED = 415;
const LOCKED = 423;

export const noUpload = (): ImsError => new ImsError('IMG.0121', 'the image has no upload', NOT_FOUND);

/** Header of every answer, the check of the version that is spoken, and the protocol's statuses for what staging refuses. */
@Injectable()
export class TusInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const http = context.switchToHttp();
    const reply = http.getResponse<FastifyReply>();
    reply.header('Tus-Resumable', TUS_VERSION);
    const spoken = http.getRequest<FastifyRequest>().headers['tus-resumable'];
    // A plain HTTP client has never heard of it; one that has must mean the same.
    if (spoken !== undefined && spoken !== TUS_VERSION) {
      reply.header('Tus-Version', TUS_VERSION);
      throw new ImsError('APIGW.0201', `version ${TUS_VERSION} of tus is spoken here`, PRECONDITION_FAILED);
    }
    return next.handle().pipe(
      catchError((error: unknown) => {
        if (error instanceof StagedOffsetError) reply.header('Upload-Offset', error.lengthBytes);
        throw refusalOf(error);
      }),
    );
  }
}

function refusalOf(error: unknown): unknown {
  if (error instanceof StagedOffsetError)
    return new ImsError('APIGW.0201', `the upload ends at ${error.lengthBytes}, not at ${error.offset}`, CONFLICT);
  if (error instanceof StagedFileBusyError)
    return new ImsError('IMG.0046', 'another request is adding to this upload', LOCKED);
  if (error instanceof StagedFileMissingError) return noUpload();
  return stagingRefusal(error);
}

const length = (headers: FastifyRequest['headers'], name: string): number | undefined => {
  const text = headers[name];
  if (text === undefined) return undefined;
  const value = Number(text);
  // Digits alone: Number() reads other spellings too.
  if (typeof text !== 'string' || !/^\d+$/.test(text) || !Number.isSafeInteger(value))
    throw new ImsError('APIGW.0201', `${name} is no length`);
  return value;
};

/** `Upload-Offset` of a request that adds bytes. */
export const UploadOffset = createParamDecorator((_data: unknown, context: ExecutionContext): number => {
  const { headers } = context.switchToHttp().getRequest<FastifyRequest>();
  if (headers['content-type'] !== TUS_MEDIA_TYPE)
    throw new ImsError('APIGW.0201', `the body must be ${TUS_MEDIA_TYPE}`, UNSUPPORTED);
  const offset = length(headers, 'upload-offset');
  if (offset === undefined) throw new ImsError('APIGW.0201', 'Upload-Offset is missing');
  return offset;
});

/** `Upload-Length`, which may come when the upload begins or later; `undefined` while it is not known. */
export const UploadLength = createParamDecorator((_data: unknown, context: ExecutionContext): number | undefined => {
  const { headers } = context.switchToHttp().getRequest<FastifyRequest>();
  const announced = length(headers, 'upload-length');
  const isDeferred = headers['upload-defer-length'] !== undefined;
  if (isDeferred && (announced !== undefined || headers['upload-defer-length'] !== '1'))
    throw new ImsError('APIGW.0201', 'Upload-Defer-Length is 1, and then there is no Upload-Length');
  return announced;
});
