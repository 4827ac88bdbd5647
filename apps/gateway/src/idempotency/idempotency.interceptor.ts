import { randomUUID } from 'node:crypto';
import { type CallHandler, type ExecutionContext, Inject, Injectable, type NestInterceptor } from '@nestjs/common';
import { ImsError } from '@ims/contract';
import { ClaimLostError, type Clock, type Database, type IdempotencyClaim, IdempotencyRepository } from '@ims/db';
import type { FastifyRequest } from 'fastify';
import { Kysely } from 'kysely';
import type { Logger } from 'pino';
import { defer, lastValueFrom, type Observable } from 'rxjs';
import { callOf } from '../access/permits';
import { GatewayConfig } from '../config';
import { Answer } from '../http/answer';
import { isDryRun } from '../http/dry-run';
import { CLOCK, LOGGER } from '../http/injection-tokens';
import { factsOf } from '../http/request';
import { fingerprintOf, keyIn } from './fingerprint';
import { idempotencyOf } from './idempotent';
import { keptAnswer, toAnswer } from './kept-answer';

const HEADER = 'idempotency-key';
// No call that takes a key works longer, bodies are read before; a slower one is refused at its commit, so this may err on either side.
const LEASE_MS = 60_000;

/**
 * Does each call that carries an `Idempotency-Key` once. The key is claimed by a commit of its own before anything is done. The transaction that
 * records the effect spends the claim in the same commit (`appendEvents`), with the answer where a job is accepted: so a process may die at any
 * point, and its key stands either for nothing, and is taken over, or for what was done, which is not done again. Refusals keep no key: they have
 * changed nothing, and the same call may succeed later.
 */
@Injectable()
export class IdempotencyInterceptor implements NestInterceptor {
  readonly #keys: IdempotencyRepository;

  constructor(
    db: Kysely<Database>,
    private readonly config: GatewayConfig,
    @Inject(CLOCK) private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.#keys = new IdempotencyRepository(db);
  }

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const header = request.headers[HEADER];
    // Other methods do the same when they are called again.
    if (header === undefined || request.method !== 'POST') return next.handle();
    const idempotency = idempotencyOf(context.getHandler());
    const call = callOf(request);
    if (idempotency.kind === 'none' || call?.operation === undefined)
      throw new ImsError('IMG.0001', 'this call knows no Idempotency-Key');
    const { projectId, userId, operation } = call;
    const { rawPath, rawQuery, rawBody } = factsOf(request);
    const key = keyIn(header);
    // Nothing of it is kept, its key neither.
    if (isDryRun(request)) return next.handle();
    const claim = { projectId, operation: operation.operation, key, claimId: randomUUID() };
    const fingerprint = fingerprintOf({ userId, rawPath, rawQuery, body: rawBody });
    return defer(() =>
      this.#once(claim, fingerprint, idempotency.kind === 'recorded', async () => {
        factsOf(request).claim = claim;
        const result: unknown = await lastValueFrom(next.handle(), { defaultValue: undefined });
        return result instanceof Answer ? result : new Answer(operation.status, bodyOf(result));
      }),
    );
  }

  async #once(
    claim: IdempotencyClaim,
    fingerprint: string,
    isRecorded: boolean,
    call: () => Promise<Answer>,
  ): Promise<Answer> {
    const times = { now: this.clock.now(), keepMs: this.config.idempotencyMs, leaseMs: LEASE_MS };
    const outcome = await this.#keys.claim({ ...claim, fingerprint, isRecorded }, times);
    switch (outcome.kind) {
      case 'answered':
        return toAnswer(outcome.answer);
      case 'other':
        throw new ImsError('Idempotency.0001');
      case 'under-way':
        throw new ImsError('Idempotency.0002');
      case 'unknown':
        throw new ImsError('Idempotency.0003');
      case 'claimed':
        return this.#claimed(claim, isRecorded, call);
      default:
        return outcome satisfies never;
    }
  }

  async #claimed(claim: IdempotencyClaim, isRecorded: boolean, call: () => Promise<Answer>): Promise<Answer> {
    let answer: Answer;
    try {
      answer = await call();
    } catch (error) {
      // A call that no event tells of and that failed on our side may have done something.
      if (isRecorded || (error instanceof ImsError && error.status < 500))
        await this.#quietly(claim, () => this.#keys.release(claim));
      throw error instanceof ClaimLostError ? new ImsError('Idempotency.0002') : error;
    }
    await this.#quietly(claim, () => this.#keys.answer(claim, keptAnswer(answer)));
    return answer;
  }

  /** What the caller is told is decided; a key that could not be noted is told `under-way`, then `unknown` or is free. */
  async #quietly({ operation, claimId }: IdempotencyClaim, note: () => Promise<void>): Promise<void> {
    try {
      await note();
    } catch (error) {
      this.logger.warn({ operation, claim_id: claimId, error }, 'an idempotency key was not noted');
    }
  }
}

/** What a handler gives is sent as JSON; one that gives nothing answers without a body. */
function bodyOf(result: unknown): object | undefined {
  if (result === undefined || typeof result === 'object') return result ?? undefined;
  throw new TypeError(`a call with an Idempotency-Key answers with an object, not with a ${typeof result}`);
}
