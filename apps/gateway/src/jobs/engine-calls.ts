import { type BeforeApplicationShutdown, Inject, Injectable } from '@nestjs/common';
import type { Jobs } from '../app-parts';
import { JOBS } from '../http/injection-tokens';

// A healthy engine starts a workflow in a few milliseconds. Waiting this long tells the caller of a running job; longer would let an engine that
// is down slow every submission, although nothing is lost: the relay starts what is still in the outbox.
const PATIENCE_MS = 250;

/** Calls to the workflow engine after a commit. They never fail a request, never hold one for long, and are finished before the process ends. */
@Injectable()
export class EngineCalls implements BeforeApplicationShutdown {
  readonly #underWay = new Set<Promise<void>>();

  constructor(@Inject(JOBS) private readonly jobs: Jobs) {}

  start(outboxId: number): Promise<void> {
    return this.#patiently(this.jobs.startNow(outboxId));
  }

  cancel(workflowId: string): Promise<void> {
    return this.#patiently(this.jobs.cancel(workflowId));
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.allSettled(this.#underWay);
  }

  async #patiently(call: Promise<void>): Promise<void> {
    this.#underWay.add(call);
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, PATIENCE_MS);
    });
    const done = call.finally(() => this.#underWay.delete(call));
    await Promise.race([done, patience]).finally(() => clearTimeout(timer));
  }
}
