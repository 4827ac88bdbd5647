import { Readable } from 'node:stream';
import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { map, type Observable } from 'rxjs';

/** A body that is opened only when it is sent: for HEAD it never is. */
export class LazyStream {
  constructor(readonly open: () => Readable) {}
}

/** An answer whose status or headers depend on what was found. */
export class Answer {
  constructor(
    readonly status: number,
    readonly body?: object,
    readonly headers: Readonly<Record<string, string | number>> = {},
  ) {}
}

/** Applies an `Answer` to the reply; everything else is sent as it is. */
@Injectable()
export class AnswerInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(
      map((result: unknown) => {
        if (!(result instanceof Answer)) return result;
        const http = context.switchToHttp();
        const reply = http.getResponse<FastifyReply>();
        reply.status(result.status).headers(result.headers);
        if (!(result.body instanceof LazyStream)) return result.body;
        // An empty stream keeps the Content-Length header that a missing body would reset to zero.
        return http.getRequest<FastifyRequest>().method === 'HEAD' ? Readable.from([]) : result.body.open();
      }),
    );
  }
}
