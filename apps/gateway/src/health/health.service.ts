import { Injectable } from '@nestjs/common';
import type { Database } from '@ims/db';
import { Kysely, sql } from 'kysely';
import { Answer } from '../http/answer';

// A probe that waits longer than its caller does is no probe.
const PROBE_DEADLINE_MS = 2_000;

/** Live: this process answers. Ready: it can reach what it needs to serve; Temporal is not among that, since submissions are kept without it. */
@Injectable()
export class HealthService {
  #isDraining = false;

  constructor(private readonly db: Kysely<Database>) {}

  live(): { status: 'ok' } {
    return { status: 'ok' };
  }

  async ready(): Promise<Answer> {
    if (this.#isDraining) return new Answer(503, { status: 'draining' });
    const isReachable = await this.#reachesDatabase();
    return new Answer(isReachable ? 200 : 503, {
      status: isReachable ? 'ok' : 'unavailable',
      database: isReachable ? 'ok' : 'unreachable',
    });
  }

  /** From now on not ready: load balancers stop sending while requests under way end. */
  drain(): void {
    this.#isDraining = true;
  }

  async #reachesDatabase(): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), PROBE_DEADLINE_MS);
    });
    const reached = sql`select from image limit 1`.execute(this.db).then(
      () => true,
      // What failed is in the database's own log; the probe's answer is that it failed.
      () => false,
    );
    try {
      return await Promise.race([reached, tooLate]);
    } finally {
      clearTimeout(timer);
    }
  }
}
