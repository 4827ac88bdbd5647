import { setTimeout as delay } from 'node:timers/promises';
import { type BeforeApplicationShutdown, Injectable } from '@nestjs/common';
import { ERRORS, type ErrorCode, ImsError, isErrorCode, type JobId } from '@ims/contract';
import type { Database } from '@ims/db';
import { Kysely } from 'kysely';

// A small file is an image after a few tens of milliseconds; a large one takes minutes, and half a second more is nothing then.
const FIRST_LOOK_MS = 25;
const LONGEST_PAUSE_MS = 500;

/** Waits for jobs on behalf of calls that answer only when the work is done. */
@Injectable()
export class JobEnds implements BeforeApplicationShutdown {
  readonly #closing = new AbortController();

  constructor(private readonly db: Kysely<Database>) {}

  /**
   * Resolves when the job has succeeded. Gives up when `signal` fires, which changes nothing for the job.
   *
   * @throws ImsError the job's own code and reason when it failed, IMG.0061 (409) when it was cancelled, IMG.0061 (503) when this process ends first
   */
  async success(jobId: JobId, signal: AbortSignal): Promise<void> {
    const either = AbortSignal.any([signal, this.#closing.signal]);
    for (let pause = FIRST_LOOK_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      try {
        await delay(pause, undefined, { signal: either });
      } catch {
        // The only reason is the signal.
        throw new ImsError('IMG.0061', `job ${jobId} goes on; ask for the image later`, 503);
      }
      const job = await this.db
        .selectFrom('job')
        .select(['outcome', 'error_code', 'fail_reason'])
        .where('id', '=', jobId)
        .executeTakeFirst();
      const outcome = job?.outcome ?? null;
      switch (outcome) {
        case 'succeeded':
          return;
        case 'failed':
          throw refusalOf(job?.error_code ?? null, job?.fail_reason ?? null);
        case 'cancelled':
          throw new ImsError('IMG.0061', 'the job was cancelled', 409);
        case null:
          break;
        default:
          outcome satisfies never;
      }
    }
  }

  beforeApplicationShutdown(): void {
    this.#closing.abort();
  }
}

function refusalOf(recorded: string | null, reason: string | null): ImsError {
  const code: ErrorCode = recorded !== null && isErrorCode(recorded) ? recorded : 'IMG.0061';
  const { message } = ERRORS[code];
  // A reason that was made of a refusal begins with the listed text, which the error adds itself.
  const detail = reason?.startsWith(message) === true ? reason.slice(message.length).replace(/^: /, '') : reason;
  return new ImsError(code, detail === null || detail === '' ? undefined : detail);
}
