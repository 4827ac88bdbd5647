import { setTimeout as delay } from 'node:timers/promises';
import type { Database } from '@ims/db';
import type { EmbeddedCloud } from '@ims/neighbours';
import type { Worker } from '@temporalio/worker';
import { type Kysely, sql } from 'kysely';
import type { Logger } from 'pino';

// How soon another worker takes over after the owner is gone, beside what Postgres needs to notice.
const TRY_AGAIN_MS = 1_000;
// An owner whose lock is lost goes on at most this long, in which the files' own locks keep everybody else from its disks.
const CHECK_EVERY_MS = 2_000;

export interface CloudOwnerOptions {
  db: Kysely<Database>;
  cloud: Pick<EmbeddedCloud, 'recover' | 'sweep' | 'stopMachines'>;
  /** Takes from the queue of the cloud. */
  createWorker(): Promise<Worker>;
  log: Logger;
}

/**
 * Of all workers of a region exactly one runs the embedded cloud: it alone switches machines on and off and changes servers and disks, because
 * machines live in the process that started them. Which one is decided by an advisory lock, which ends with its process.
 */
export class CloudOwner {
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;
  #isOwner = false;

  constructor(private readonly options: CloudOwnerOptions) {}

  start(): void {
    this.#running ??= this.#run();
  }

  /**
   * Removes what deaths have left of disks, where this worker is the one that runs the cloud. What a death has just left is too young for the sweep of
   * the start that follows it, and the next start may be months away.
   */
  async sweep(): Promise<void> {
    if (this.#isOwner) await this.options.cloud.sweep();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        await this.#tryToOwn();
      } catch (error) {
        this.options.log.warn({ error: String(error) }, 'the embedded cloud is not owned by this worker any more');
      }
      await this.#pause(TRY_AGAIN_MS);
    }
  }

  async #tryToOwn(): Promise<void> {
    const { db, cloud } = this.options;
    await db.connection().execute(async (connection) => {
      const { rows } = await sql<{ isOurs: boolean }>`
        select pg_try_advisory_lock(hashtextextended('embedded-cloud:' || current_database() || current_schema(), 0)) as "isOurs"`.execute(
        connection,
      );
      // Somebody else is: machines that were started here while this process was it are nobody's any more.
      if (rows[0]?.isOurs !== true) return cloud.stopMachines();
      try {
        await this.#own(connection);
      } finally {
        await sql`select pg_advisory_unlock(hashtextextended('embedded-cloud:' || current_database() || current_schema(), 0))`
          .execute(connection)
          // A connection that broke has given the lock up already.
          .catch(() => undefined);
      }
    });
  }

  async #own(connection: Kysely<Database>): Promise<void> {
    const { cloud, createWorker, log } = this.options;
    await cloud.recover();
    const worker = await createWorker();
    const running = worker.run();
    running.catch(() => undefined);
    log.info('this worker owns the embedded cloud');
    this.#isOwner = true;
    try {
      while (!this.#stopping.signal.aborted && worker.getState() === 'RUNNING') {
        await this.#pause(CHECK_EVERY_MS);
        await sql`select 1`.execute(connection);
      }
    } finally {
      this.#isOwner = false;
      if (worker.getState() === 'RUNNING') worker.shutdown();
      await running.catch(() => undefined);
    }
  }

  async #pause(ms: number): Promise<void> {
    // Ends early, and without a word, when it is to stop.
    await delay(ms, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }
}
