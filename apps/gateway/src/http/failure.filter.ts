import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException } from '@nestjs/common';
import { ERRORS, ImsError } from '@ims/contract';
import { sqlState } from '@ims/db';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { type ErrorFamily, errorFamilyOf, renderError } from './error-family';
import { factsOf, identify } from './request';
import type { RouteTable } from './route-table';

// Long enough for a primary to be promoted or a pool to drain, short enough that a poller does not notice.
const RETRY_AFTER_S = 2;

/** Lost or refused connections, by Node's and Postgres' codes: the service will be back, the request can be repeated. */
const UNAVAILABLE = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'ETIMEDOUT',
  'EPIPE',
  '57P01',
  '57P02',
  '57P03',
  '53300',
]);

function isUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  // The pool's own time-out has no code.
  if (
    UNAVAILABLE.has(code) ||
    code.startsWith('08') ||
    error.message.startsWith('timeout exceeded when trying to connect')
  )
    return true;
  if (error.message.startsWith('Connection terminated')) return true;
  return isUnavailable(error.cause);
}

/** Status and texts of refusals that the HTTP layer itself makes, by the framework's status (iam 8.1). */
function refusalOfFramework(status: number): ImsError {
  switch (status) {
    case 404:
      return new ImsError('APIGW.0101');
    case 413:
      return new ImsError('APIGW.0201', 'the body is larger than 12 MB', 413);
    case 414:
      return new ImsError('APIGW.0201', 'the address is too long', 414);
    case 415:
      return new ImsError('APIGW.0201', 'the content type is malformed', 415);
    case 503:
      return new ImsError('IMG.0061', 'the service is shutting down', 503);
    default:
      return new ImsError('APIGW.0201', undefined, status);
  }
}

const statusOf = (error: unknown): number | undefined => {
  if (error instanceof HttpException) return error.getStatus();
  if (error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number') return error.statusCode;
  return undefined;
};

/** What the caller is told. Everything unexpected becomes one documented sentence: no stack, path or SQL leaves the process. */
export function refusalFor(error: unknown): ImsError {
  if (error instanceof ImsError) return error;
  const status = statusOf(error);
  if (status !== undefined && status >= 400 && status < 500) return refusalOfFramework(status);
  // Text with a NUL reached Postgres (22021) or a number was out of its range (22003): the caller's input, not our fault.
  const state = sqlState(error);
  if (state === '22021' || state === '22003' || state === '22P05') return new ImsError('IMG.0001');
  if (isUnavailable(error) || status === 503)
    return new ImsError('IMG.0061', 'the service is not ready, try again', 503);
  return new ImsError('IMG.0061');
}

/** Glance and the identity service have no `IMG.0061`-style detail to hide behind; they get status and sentence. */
function statusFor(refusal: ImsError, family: ErrorFamily): number {
  if (family !== 'glance') return refusal.status;
  switch (refusal.code) {
    // OpenStack's statuses for what the extension API answers with 400 (ims-api 12.1, 12.6).
    case 'IMG.0027':
    case 'IMG.0144':
      return 404;
    case 'IMG.0028':
    case 'IMG.0091':
    case 'IMG.0092':
    case 'IMG.0093':
    case 'IMG.0094':
      return 403;
    case 'IMG.0090':
      return 409;
    case 'IMG.0059':
      return 413;
    default:
      return refusal.status;
  }
}

/** The audit trail has codes of its own for what every route may refuse (cts-api 5). */
function inWordsOfAudit(refusal: ImsError): ImsError {
  const { code, detail, status } = refusal;
  switch (code) {
    case 'APIGW.0301':
    case 'APIGW.0307':
      return new ImsError('CTS.0002', detail, status);
    case 'APIGW.0302':
    case 'IMG.0026':
      return new ImsError('CTS.0013', detail);
    case 'IMG.0030':
    case 'IMG.0067':
      return new ImsError('CTS.0012', detail);
    case 'IMG.0001':
      return new ImsError('CTS.0300', detail);
    case 'IMG.0061':
      return new ImsError('CTS.0005', detail, status);
    default:
      return refusal;
  }
}

/** The only place that turns errors into answers. */
@Catch()
export class FailureFilter implements ExceptionFilter {
  constructor(
    private readonly logger: Logger,
    private readonly table: RouteTable,
  ) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    this.answer(error, http.getRequest<FastifyRequest>(), http.getResponse<FastifyReply>());
  }

  answer(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
    const facts = factsOf(request);
    const { requestId, routedPath } = facts;
    let refusal = refusalFor(error);
    if (refusal.code === 'IMG.0061') this.logger.error({ request_id: requestId, error }, 'request failed');
    identify(request, reply);
    if (refusal.code === 'APIGW.0101' && refusal.status === 404) {
      const methods = this.table.methodsOf(routedPath);
      if (methods.length > 0 && !methods.includes(request.method)) {
        refusal = new ImsError('APIGW.0101', `the path has no method ${request.method}`, 405);
        reply.header('Allow', methods.join(', '));
      }
    }
    // A half-sent stream cannot be turned into an error any more; cutting the connection tells the client.
    if (reply.raw.headersSent) {
      reply.raw.destroy();
      return;
    }
    const family = errorFamilyOf(routedPath);
    if (family === 'audit') refusal = inWordsOfAudit(refusal);
    const status = statusFor(refusal, family);
    if (ERRORS[refusal.code].retry === 'after' && (status === 429 || status === 503))
      reply.header('Retry-After', RETRY_AFTER_S);
    if (status === 401) reply.header('WWW-Authenticate', 'SDK-HMAC-SHA256, Keystone');
    // Headers of the answer that was being made do not describe this one.
    for (const name of ['Content-Length', 'Content-MD5', 'ETag', 'Accept-Ranges', 'Content-Disposition'])
      reply.removeHeader(name);
    // The identity service has sentences of its own and no codes (iam 8.2).
    const message = family === 'identity' ? (refusal.detail ?? refusal.message) : refusal.message;
    const { contentType, body } = renderError(family, { status, code: refusal.code, message, requestId });
    facts.refusal = { code: refusal.code, message: refusal.message };
    reply.status(status).header('Content-Type', contentType).send(body);
  }
}
