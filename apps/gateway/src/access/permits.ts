import { createParamDecorator, type ExecutionContext, HttpStatus, SetMetadata } from '@nestjs/common';
import { type Caller as ProjectCaller, permits, type Principal } from '@ims/access';
import { ImsError, PLATFORM_PROJECT } from '@ims/contract';
import type { IdempotencyClaim } from '@ims/db';
import type { FastifyRequest } from 'fastify';
import { OPERATION, type Operation } from '../http/documents';
import { isDryRun } from '../http/dry-run';
import { factsOf } from '../http/request';

export const ROUTE_ACCESS = 'ims:route-access';

/**
 * What a route demands: nothing; valid credentials; credentials that name a project; or these and policies that allow every one of
 * the actions, or any of them where the body decides which one it is.
 */
export type RouteAccess =
  | { kind: 'public' }
  | { kind: 'account' }
  | { kind: 'project' }
  | { kind: 'permits'; actions: readonly string[]; need: 'all' | 'any' };

/** Anybody may call, also without credentials. */
export const Public = (): MethodDecorator => SetMetadata(ROUTE_ACCESS, { kind: 'public' } satisfies RouteAccess);

/** Anybody with valid credentials may call, also with those of no project; the answer holds only what is theirs. */
export const ForAccount = (): MethodDecorator => SetMetadata(ROUTE_ACCESS, { kind: 'account' } satisfies RouteAccess);

/** Anybody in a project may call: the calls to which the contract ties no action (ims-api 3). */
export const ForProject = (): MethodDecorator => SetMetadata(ROUTE_ACCESS, { kind: 'project' } satisfies RouteAccess);

/** An action of a service whose calls are answered here: of images, of the backups, servers and disks they are made from and make, of the audit trail. */
export type Action = `${'ims' | 'cts' | 'cbr' | 'csbs' | 'ecs' | 'evs' | 'bms' | 'kms'}:${string}`;

/** Callers in a project whose policies allow every one of the actions (ims-api 3, 14.1). */
export const Permits = (...actions: readonly [Action, ...Action[]]): MethodDecorator =>
  SetMetadata(ROUTE_ACCESS, { kind: 'permits', actions, need: 'all' } satisfies RouteAccess);

/** Callers in a project whose policies allow one of the actions; the service asks for the very one that the body means (ims-api 6.3). */
export const PermitsAnyOf = (...actions: readonly [Action, ...Action[]]): MethodDecorator =>
  SetMetadata(ROUTE_ACCESS, { kind: 'permits', actions, need: 'any' } satisfies RouteAccess);

/** What starting a job that makes one disk's image may need, by the kind of image (ims-api 3). */
export const CREATES_IMAGES = ['ims:serverImages:create', 'ims:dataImages:create'] as const;

/** The same of whatever makes an image. */
export const MAKES_IMAGES = [...CREATES_IMAGES, 'ims:wholeImages:create'] as const;
export type CreateAction = (typeof MAKES_IMAGES)[number];

/**
 * What starting a job that makes an image of this `virtual_env_type` needs: data images have their own action, whichever door they come in by, and so
 * have images of whole servers.
 */
export const actionToCreate = (virtualEnvType: string | null | undefined, isWholeImage = false): CreateAction => {
  if (isWholeImage) return 'ims:wholeImages:create';
  return virtualEnvType === 'DataImage' ? 'ims:dataImages:create' : 'ims:serverImages:create';
};

/** Fails with IMG.0026 unless the caller may do it. */
export function checkAction(caller: ProjectCaller, action: Action): void {
  if (!permits(caller, action)) throw new ImsError('IMG.0026', action);
}

/** Fails with IMG.0026 unless the caller is the operator of the platform. */
export function checkOperator({ projectId }: Pick<ProjectCaller, 'projectId'>): void {
  if (projectId !== PLATFORM_PROJECT) throw new ImsError('IMG.0026', 'only the operator of the platform may do this');
}

const missing = (): ImsError => new ImsError('APIGW.0301', 'IAM credentials missing');

/** Who calls, in which project, and by which request: what a service needs to authorise and to record. */
export interface Call extends ProjectCaller {
  requestId: string;
  sourceIp: string;
  userAgent: string | undefined;
  /** The operation that was called, as the audit trail shows it. */
  operation: { operation: string; apiVersion: string; status: number } | undefined;
  /** The call is only to be tried. */
  isDryRun: boolean;
  /** The call is to be done once for a key. */
  claim?: IdempotencyClaim | undefined;
}

/** Who calls by this request, once the guard has found out; `undefined` before, and on routes of no project. */
export function callOf(request: FastifyRequest): Omit<Call, 'isDryRun' | 'claim'> | undefined {
  const { caller, requestId, operation } = factsOf(request);
  if (caller === undefined) return undefined;
  return { ...caller, requestId, sourceIp: request.ip, userAgent: request.headers['user-agent'], operation };
}

/** The operation that a handler documents. */
export function operationOf(context: ExecutionContext): Call['operation'] {
  // Written by our own decorator alone; SetMetadata keeps no type.
  const documented = Reflect.getMetadata(OPERATION, context.getHandler()) as Operation | undefined;
  return (
    documented && {
      operation: documented.operation,
      apiVersion: documented.since,
      status: documented.status ?? HttpStatus.OK,
    }
  );
}

/** The caller of a route of a project. */
export const Caller = createParamDecorator((_data: unknown, context: ExecutionContext): Call => {
  const request = context.switchToHttp().getRequest<FastifyRequest>();
  const call = callOf(request);
  if (call === undefined) throw missing();
  return { ...call, isDryRun: isDryRun(request), claim: factsOf(request).claim };
});

/** The caller of a route of an account. */
export const AccountCaller = createParamDecorator((_data: unknown, context: ExecutionContext): Principal => {
  const { principal } = factsOf(context.switchToHttp().getRequest<FastifyRequest>());
  if (principal === undefined) throw missing();
  return principal;
});
