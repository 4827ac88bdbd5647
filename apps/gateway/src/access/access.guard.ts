import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { Authenticator, type Caller, permits, type SignedRequest } from '@ims/access';
import { ImsError, isProjectId } from '@ims/contract';
import type { FastifyRequest } from 'fastify';
import { factsOf } from '../http/request';
import { operationOf, ROUTE_ACCESS, type RouteAccess } from './permits';

/** Denies by default: a handler that declares nothing cannot be called (and the gateway does not start with one). */
@Injectable()
export class AccessGuard implements CanActivate {
  constructor(private readonly authenticator: Authenticator) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    // Written by our own decorators alone; SetMetadata keeps no type.
    const access = Reflect.getMetadata(ROUTE_ACCESS, context.getHandler()) as RouteAccess | undefined;
    if (access === undefined) throw new ImsError('APIGW.0302');
    if (access.kind === 'public') return true;
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const facts = factsOf(request);
    facts.operation = operationOf(context);
    if (access.kind === 'account') {
      facts.principal = await this.authenticator.authenticateAccount(signedRequest(request));
      return true;
    }
    const caller = await this.authenticator.authenticate(signedRequest(request));
    facts.principal = caller;
    facts.caller = caller;
    checkProject(caller, request);
    if (access.kind === 'permits') checkActions(caller, access);
    return true;
  }
}

function signedRequest(request: FastifyRequest): SignedRequest {
  const { rawPath, rawQuery, rawBody } = factsOf(request);
  // A streamed body has no hash yet: such requests are signed with UNSIGNED-PAYLOAD, or carry a token (iam 6.4 step 5).
  return { method: request.method, rawPath, rawQuery, headers: request.headers, body: rawBody };
}

/** A project in the path must be the one the caller is in (ims-api 1.2). */
function checkProject(caller: Caller, request: FastifyRequest): void {
  // The router gives parameters as strings; a route without any has an empty object.
  const { project_id: inPath } = request.params as Record<string, string | undefined>;
  if (inPath === undefined) return;
  if (!isProjectId(inPath)) throw new ImsError('IMG.0067');
  if (inPath !== caller.projectId) throw new ImsError('IMG.0030');
}

function checkActions(caller: Caller, { actions, need }: Extract<RouteAccess, { kind: 'permits' }>): void {
  const missing = actions.filter((action) => !permits(caller, action));
  const enough = need === 'any' ? missing.length < actions.length : missing.length === 0;
  if (!enough) throw new ImsError('IMG.0026', missing.join(need === 'any' ? ' or ' : ', '));
}
