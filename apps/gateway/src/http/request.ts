import { randomUUID } from 'node:crypto';
import type { Caller, Principal } from '@ims/access';
import type { IdempotencyClaim } from '@ims/db';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** What the gateway knows of a request beside what the framework parsed. */
export interface RequestFacts {
  /** 32 hex digits; in every answer, every log line and every event the request causes. */
  requestId: string;
  /** Path and query as they came over the wire: what a client has signed. */
  rawPath: string;
  /** The path as the router reads it, so that `/v2/%69mages` is dealt with as `/v2/images`. */
  routedPath: string;
  rawQuery: string;
  /** Body bytes as they came; empty for streams and requests without one. */
  rawBody: Buffer;
  /** A body that is handed on as a stream, so nothing knows its hash. */
  hasStreamedBody: boolean;
  /** Who calls, and in which project; set by the guard. */
  principal: Principal | undefined;
  caller: Caller | undefined;
  /** The operation that was called, as the audit trail shows it. */
  operation: { operation: string; apiVersion: string; status: number } | undefined;
  /** The key that the call must be done once for. */
  claim: IdempotencyClaim | undefined;
  /** What it was refused with. */
  refusal: { code: string; message: string } | undefined;
  /** The job that the request made or asked about, for the log. */
  jobId: string | undefined;
  startedAtNs: bigint;
}

const FACTS: unique symbol = Symbol('request facts');

declare module 'fastify' {
  interface FastifyRequest {
    [FACTS]?: RequestFacts;
  }
}

// A request line may have the whole address (RFC 9112 3.2.2); the router takes the path of it, and signatures cover no more.
const ORIGIN = /^https?:\/\/[^/?#]*/i;

function routedPathOf(rawPath: string): string {
  try {
    return decodeURI(rawPath);
  } catch {
    // The router refuses it, in the shape that its readable beginning asks for.
    return rawPath;
  }
}

const NO_BODY = Buffer.alloc(0);

/** Facts of a request; made at its first use, before any hook that needs them. */
export function factsOf(request: FastifyRequest): RequestFacts {
  const known = request[FACTS];
  if (known !== undefined) return known;
  const target = (request.raw.url ?? '/').replace(ORIGIN, '');
  const question = target.indexOf('?');
  const rawPath = question === -1 ? target : target.slice(0, question);
  const facts: RequestFacts = {
    requestId: randomUUID().replaceAll('-', ''),
    rawPath,
    routedPath: routedPathOf(rawPath),
    rawQuery: question === -1 ? '' : target.slice(question + 1),
    rawBody: NO_BODY,
    hasStreamedBody: false,
    principal: undefined,
    caller: undefined,
    operation: undefined,
    claim: undefined,
    refusal: undefined,
    jobId: undefined,
    startedAtNs: process.hrtime.bigint(),
  };
  request[FACTS] = facts;
  return facts;
}

/** `req-<uuid>`, as OpenStack clients print it. */
export const openStackRequestId = (requestId: string): string =>
  `req-${requestId.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')}`;

/** Ids of the request on its answer; every answer has them, whatever becomes of it (ims-api 1.2). */
export function identify(request: FastifyRequest, reply: FastifyReply): void {
  const { requestId, routedPath } = factsOf(request);
  reply.header('X-Request-Id', requestId);
  reply.header('x-openstack-request-id', openStackRequestId(requestId));
  // One SDK quotes this header when its project look-up fails (iam 5.2).
  if (routedPath.startsWith('/v3')) reply.header('X-IAM-Trace-Id', requestId);
}
