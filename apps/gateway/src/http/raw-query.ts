import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { factsOf } from './request';

/** The query as it came over the wire, for links that repeat it. */
export const RawQuery = createParamDecorator(
  (_data: unknown, context: ExecutionContext): string =>
    factsOf(context.switchToHttp().getRequest<FastifyRequest>()).rawQuery,
);
