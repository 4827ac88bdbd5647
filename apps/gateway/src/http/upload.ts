import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { ImsError, LONGEST_DOWNLOAD_MS } from '@ims/contract';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** A body that is taken as it comes. */
export interface Upload {
  body: Readable;
  /** Length in bytes that the sender says it will have. */
  announcedBytes: number | undefined;
  /** Fires when the sender has gone. */
  signal: AbortSignal;
}

const UNSUPPORTED = 415;
// A sender that sends nothing for this long is gone.
const SILENCE_MS = 120_000;

/**
 * The octet stream of an upload.
 * @throws ImsError APIGW.0201 (415) for a body of another media type, IMG.0001 for lengths that are none or differ
 */
export const UploadBody = createParamDecorator((_data: unknown, context: ExecutionContext): Upload => {
  const http = context.switchToHttp();
  const request = http.getRequest<FastifyRequest>();
  if (!(request.body instanceof Readable))
    throw new ImsError('APIGW.0201', 'the body must be application/octet-stream', UNSUPPORTED);
  const gone = new AbortController();
  const { raw } = http.getResponse<FastifyReply>();
  raw.once('close', () => {
    if (!raw.writableFinished) gone.abort(new Error('the sender has gone'));
  });
  const { socket } = request.raw;
  if (socket instanceof Socket) {
    socket.setTimeout(SILENCE_MS);
    // From then on it is the sender who waits.
    request.raw.once('end', () => socket.setTimeout(LONGEST_DOWNLOAD_MS));
  }
  return { body: request.body, announcedBytes: announcedLength(request.headers), signal: gone.signal };
});

/** What OpenStack clients say in a header of their own when they send in chunks (ims-api 1.2). */
function announcedLength(headers: FastifyRequest['headers']): number | undefined {
  const announced = lengthIn(headers['content-length']) ?? lengthIn(headers['x-openstack-image-size']);
  const claimed = lengthIn(headers['x-openstack-image-size']);
  if (claimed !== undefined && claimed !== announced)
    throw new ImsError('IMG.0001', 'Content-Length and x-openstack-image-size differ');
  return announced;
}

function lengthIn(header: string | string[] | undefined): number | undefined {
  if (header === undefined || header === '') return undefined;
  const length = Number(header);
  // Digits alone: Number() reads other spellings too.
  if (typeof header !== 'string' || !/^\d+$/.test(header) || !Number.isSafeInteger(length))
    throw new ImsError('IMG.0001', 'the announced length is no length');
  return length;
}
