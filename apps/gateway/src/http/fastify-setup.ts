import { Socket } from 'node:net';
import { ImsError, LONGEST_DOWNLOAD_MS } from '@ims/contract';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import type { FailureFilter } from './failure.filter';
import { factsOf, identify } from './request';

// Signed bodies may have up to 12 MB (iam 6.1); larger ones are uploads, which are streams.
const BODY_LIMIT_BYTES = 12 * 1024 * 1024;
// Tag keys and values travel in paths: 128 and 255 characters of up to 9 bytes each once they are escaped (libraries, rule 3).
const MAX_PARAMETER_LENGTH = 4096;
// Node's default of 16 KiB would refuse tokens of 8 KiB beside signed headers; 32 KiB is the documented limit of one header (iam 8.1).
export const MAX_HEADER_BYTES = 32 * 1024;
// A client has this long to send its headers, and a body that is no upload.
const HEADERS_TIMEOUT_MS = 30_000;
const REQUEST_TIMEOUT_MS = 120_000;
// An idle socket; downloads write all the time, and a reader that takes nothing for this long is gone.
const CONNECTION_TIMEOUT_MS = 120_000;
// Longer than the usual idle time of a load balancer, which would else reuse a socket we are closing.
const KEEP_ALIVE_TIMEOUT_MS = 75_000;
/** Whose answers take as long as a file: one that is sent, and one that is read through before the answer. */
const FILE_PATH = /^\/v2\/images\/[^/]+\/(?:file|upload\/complete)\/?$/;
/** Whose bodies are files: they take as long as their line needs. */
const UPLOAD_PATH = /^\/v2\/images\/[^/]+\/(?:file|stage|upload)(?:\/|$)/;

export function createAdapter(logger: Logger, filter: FailureFilter): FastifyAdapter {
  return new FastifyAdapter({
    skipMiddie: true,
    multipart: false,
    logger: false,
    // Ids are ours (`factsOf`): a caller must not choose what stands in the log.
    requestIdHeader: false,
    bodyLimit: BODY_LIMIT_BYTES,
    // Node knows one limit for all requests; ours is `limitBodies`, which leaves uploads their time.
    requestTimeout: 0,
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    // Node's own refusal of a missing Host has neither body nor request id; ours is below.
    http: { headersTimeout: HEADERS_TIMEOUT_MS, maxHeaderSize: MAX_HEADER_BYTES, requireHostHeader: false },
    routerOptions: { maxParamLength: MAX_PARAMETER_LENGTH, ignoreTrailingSlash: true },
    // The router refuses malformed addresses and over-long parameters before any hook or filter runs.
    frameworkErrors: (error: unknown, request: FastifyRequest, reply: FastifyReply) =>
      filter.answer(error, request, reply),
    clientErrorHandler: (error: Error & { code?: string }, socket: Socket) =>
      answerBrokenRequest(logger, error, socket),
  });
}

/** A request that is no HTTP never reaches a route; it gets the gateway's envelope all the same. */
function answerBrokenRequest(logger: Logger, error: Error & { code?: string }, socket: Socket): void {
  // The peer has gone: nobody is left to answer.
  if (error.code === 'ECONNRESET' || socket.destroyed || !socket.writable) {
    socket.destroy();
    return;
  }
  const isTooLarge = error.code === 'HPE_HEADER_OVERFLOW';
  const isLate = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
  const status = isTooLarge
    ? '431 Request Header Fields Too Large'
    : isLate
      ? '408 Request Timeout'
      : '400 Bad Request';
  const requestId = globalThis.crypto.randomUUID().replaceAll('-', '');
  logger.info({ request_id: requestId, code: error.code }, 'request was not readable');
  const body = JSON.stringify({ error_code: 'APIGW.0201', error_msg: 'Bad request', request_id: requestId });
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json; charset=utf-8\r\nX-Request-Id: ${requestId}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

/**
 * Bodies: everything but octet streams is kept as the bytes that came, on every method, because signatures cover them
 * (iam 6.4 step 1); parsing comes after the guard. Uploads are handed on as untouched streams.
 */
export function acceptBodies(instance: FastifyInstance): void {
  // One SDK sends and signs a body with GET (iam 5.1).
  instance.addHttpMethod('GET', { hasBody: true, overrideExisting: true });
  instance.addHttpMethod('HEAD', { hasBody: true, overrideExisting: true });
  instance.removeAllContentTypeParsers();
  instance.addContentTypeParser('*', { parseAs: 'buffer' }, (request, body, done) => {
    factsOf(request).rawBody = Buffer.isBuffer(body) ? body : Buffer.from(body);
    done(null, body);
  });
  // Of uploads in one request, and of those that go on where another ended (tus).
  instance.addContentTypeParser(
    ['application/octet-stream', 'application/offset+octet-stream'],
    (request, payload, done) => {
      factsOf(request).hasStreamedBody = request.headers['content-length'] !== '0' && hasBody(request);
      done(null, payload);
    },
  );
}

const hasBody = (request: FastifyRequest): boolean =>
  request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined;

/** Ids on every answer, a line in the log for every request, and more time for files. */
export function observeRequests(instance: FastifyInstance, logger: Logger): void {
  instance.addHook('onRequest', (request, reply, done) => {
    identify(request, reply);
    reply.header('Cache-Control', 'no-store');
    if (request.raw.httpVersion === '1.1' && request.headers.host === undefined) {
      done(new ImsError('APIGW.0201', 'the Host header is missing'));
      return;
    }
    const { socket } = request.raw;
    // A request that is injected, without a network, has no real socket.
    if (FILE_PATH.test(factsOf(request).routedPath) && socket instanceof Socket) socket.setTimeout(LONGEST_DOWNLOAD_MS);
    done();
  });
  instance.addHook('onResponse', (request, reply, done) => {
    logRequest(logger, request, reply);
    done();
  });
}

/** A body that is no upload has to be there in time; a sender that dawdles would hold its connection for ever. */
export function limitBodies(instance: FastifyInstance, logger: Logger, limitMs = REQUEST_TIMEOUT_MS): void {
  instance.addHook('onRequest', (request, _reply, done) => {
    const { raw } = request;
    const { socket } = raw;
    // A request that is injected, without a network, is there at once.
    if (socket instanceof Socket && hasBody(request) && !UPLOAD_PATH.test(factsOf(request).routedPath)) {
      const timer = setTimeout(() => {
        if (!raw.complete) answerBrokenRequest(logger, new LateBodyError(), socket);
      }, limitMs);
      raw.once('close', () => clearTimeout(timer));
    }
    done();
  });
}

/** As Node's own, so that it is answered alike. */
class LateBodyError extends Error {
  readonly code = 'ERR_HTTP_REQUEST_TIMEOUT';
}

/** Node answers an unknown expectation itself, with neither body nor request id; a server may as well overlook it (RFC 9110 10.1.1). */
export function overlookExpectations({ server }: FastifyInstance): void {
  server.on('checkExpectation', (request, response) => server.emit('request', request, response));
}

/** Once the server closes, every connection ends with the request it is busy with; kept alive it would hold the process up to its deadline. */
export function endConnectionsWhenClosing(instance: FastifyInstance): void {
  let isClosing = false;
  instance.addHook('preClose', (done) => {
    isClosing = true;
    done();
  });
  instance.addHook('onSend', (_request, reply, _payload, done) => {
    if (isClosing) reply.header('Connection', 'close');
    done();
  });
  // A download whose headers went out before has promised to keep the connection.
  instance.addHook('onResponse', (request, _reply, done) => {
    if (isClosing) request.raw.socket.end();
    done();
  });
}

function logRequest(logger: Logger, request: FastifyRequest, reply: FastifyReply): void {
  const facts = factsOf(request);
  const isProbe = facts.rawPath === '/healthz' || facts.rawPath === '/readyz';
  const line = {
    request_id: facts.requestId,
    method: request.method,
    // The pattern, not the address: queries may hold names, and a log line per address cannot be grouped.
    route: request.routeOptions.url ?? 'unknown',
    status: reply.statusCode,
    duration_ms: Number(process.hrtime.bigint() - facts.startedAtNs) / 1e6,
    project_id: facts.caller?.projectId,
    user_id: facts.principal?.userId,
    job_id: facts.jobId,
    source_ip: request.ip,
  };
  if (isProbe) logger.debug(line, 'request');
  else logger.info(line, 'request');
}
