import { type BeforeApplicationShutdown, Inject, Injectable } from '@nestjs/common';
import { projectId as toProject, refusedCallsStream } from '@ims/contract';
import { type Clock, type Database, inTransaction } from '@ims/db';
import { appendEvents, operationOfCall } from '@ims/event-log';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Kysely } from 'kysely';
import type { Logger } from 'pino';
import { eventContext } from '../access/event-context';
import { callOf } from '../access/permits';
import { CLOCK, LOGGER } from '../http/injection-tokens';
import { factsOf } from '../http/request';

// What somebody who tries things out does in a minute is recorded; a script that fails in a loop fills nobody's trail.
const PER_PROJECT = 20;
const WINDOW_MS = 60_000;
// A reason may quote what was sent.
const MAX_REASON = 1_000;
// What ids in addresses are made of (cts-api 2.3: 350 characters at most).
const ID = /^[\w.-]{1,350}$/;

interface Count {
  recorded: number;
  unrecorded: number;
}

/**
 * Records calls that would have changed something and were refused, or have failed, for whom they concern: the project of the caller, whose
 * credentials have been found good (cts-api 7). A call without good credentials is nobody's, and in the log of the process alone.
 */
@Injectable()
export class RefusedCalls implements BeforeApplicationShutdown {
  readonly #counts = new Map<string, Count>();
  readonly #writing = new Set<Promise<unknown>>();
  #windowBegan = 0;

  constructor(
    private readonly db: Kysely<Database>,
    @Inject(CLOCK) private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** After the answer has gone: the caller does not wait for it, and hears of no failure of it. */
  note(request: FastifyRequest, reply: FastifyReply): void {
    const { refusal, operation, requestId } = factsOf(request);
    const caller = callOf(request);
    if (refusal === undefined || caller === undefined || operation === undefined) return;
    if (operationOfCall(operation.operation) === undefined) return;
    const unrecorded = this.#admit(caller.projectId);
    if (unrecorded === undefined) return;
    const call = { ...caller, operation: { ...operation, status: reply.statusCode } };
    const writing = inTransaction(this.db, (trx) =>
      appendEvents(
        trx,
        eventContext(call),
        [
          {
            type: 'call.refused',
            stream: refusedCallsStream(toProject(caller.projectId)),
            key: requestId,
            data: { errorCode: refusal.code, reason: reasonOf(refusal), resourceId: resourceOf(request), unrecorded },
          },
        ],
        this.clock,
      ),
    )
      .catch((error: unknown) => {
        this.logger.warn({ request_id: requestId, error }, 'a refused call was not recorded');
      })
      .finally(() => this.#writing.delete(writing));
    this.#writing.add(writing);
  }

  /** How many calls of the project before this one were left out, or `undefined` when this one is to be. */
  #admit(projectId: string): number | undefined {
    const now = this.clock.now().getTime();
    if (Math.abs(now - this.#windowBegan) >= WINDOW_MS) {
      this.#windowBegan = now;
      for (const [project, count] of this.#counts) {
        if (count.unrecorded === 0) this.#counts.delete(project);
        else count.recorded = 0;
      }
    }
    const count = this.#counts.get(projectId) ?? { recorded: 0, unrecorded: 0 };
    this.#counts.set(projectId, count);
    if (count.recorded >= PER_PROJECT) {
      count.unrecorded += 1;
      return undefined;
    }
    const { unrecorded } = count;
    count.recorded += 1;
    count.unrecorded = 0;
    return unrecorded;
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all(this.#writing);
  }
}

// Postgres takes no NUL, and a half of a surrogate pair is no text.
const reasonOf = ({ message }: { message: string }): string =>
  message.slice(0, MAX_REASON).replaceAll('\0', '').toWellFormed();

/** What the address names beside the project. */
function resourceOf(request: FastifyRequest): string | null {
  // The router gives parameters as strings; a route without any has an empty object.
  const { project_id: _project, ...named } = request.params as Record<string, string | undefined>;
  const [id = ''] = Object.values(named);
  return ID.test(id) ? id : null;
}
