import {
  applyDecorators,
  type CallHandler,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  SetMetadata,
} from '@nestjs/common';
import { ApiHeader } from '@nestjs/swagger';
import { type DryRunAnswer, ImsError } from '@ims/contract';
import type { FastifyRequest } from 'fastify';
import { catchError, map, type Observable, of } from 'rxjs';
import { Answer } from './answer';

const CAN_DRY_RUN = 'ims:can-dry-run';
const HEADER = 'x-dry-run';

/** The call can be tried: with `X-Dry-Run: true` it is decided as always, nothing is kept, and the answer says what would be. */
export const CanDryRun = (): MethodDecorator =>
  applyDecorators(
    SetMetadata(CAN_DRY_RUN, true),
    ApiHeader({
      name: 'X-Dry-Run',
      required: false,
      description: 'true: say whether the call would be accepted, what it would do and cost, and keep nothing of it.',
      schema: { type: 'string', enum: ['true', 'false'] },
    }),
  );

export type DryRunPlan = Omit<DryRunAnswer, 'dry_run' | 'allowed' | 'refusals'>;

/** Ends the transaction of a call that was only tried: thrown where it would be committed. */
export class DryRunEnd extends Error {
  override readonly name = 'DryRunEnd';

  constructor(readonly plan: DryRunPlan) {
    super('the call was only tried');
  }
}

const REFUSED: DryRunPlan = { job_type: null, steps: [], sub_jobs: 0, bytes: { source: null }, cost: null };

/**
 * Whether the call is only to be tried.
 *
 * @throws ImsError IMG.0001 unless the header is absent, `true` or `false`
 */
export function isDryRun(request: FastifyRequest): boolean {
  const wish = request.headers[HEADER];
  if (wish === undefined || wish === 'false') return false;
  if (wish === 'true') return true;
  throw new ImsError('IMG.0001', 'X-Dry-Run is true or false');
}

/** Answers calls that are only tried; a route that cannot be tried refuses them rather than doing what was not to be done. */
@Injectable()
export class DryRunInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const canDryRun = Reflect.getMetadata(CAN_DRY_RUN, context.getHandler()) === true;
    if (request.headers[HEADER] !== undefined && !canDryRun)
      throw new ImsError('IMG.0001', 'this call knows no X-Dry-Run');
    if (!isDryRun(request)) return next.handle();
    return next.handle().pipe(
      // A route that says it can be tried and then does the work must not tell that it has only tried.
      map(() => {
        throw new Error('a call that was only to be tried has been done');
      }),
      catchError((error: unknown) => of(new Answer(200, answerTo(error)))),
    );
  }
}

/** Who may not call hears it as always, and so does whoever meets a failure of ours: neither is a rule about the call. */
function answerTo(error: unknown): DryRunAnswer {
  if (error instanceof DryRunEnd) return { dry_run: true, allowed: true, refusals: [], ...error.plan };
  if (!(error instanceof ImsError) || error.status === 401 || error.status === 403 || error.status >= 500) throw error;
  return {
    dry_run: true,
    allowed: false,
    refusals: [{ error_code: error.code, error_msg: error.message }],
    ...REFUSED,
  };
}
