import { connect, type Database } from '@ims/db';
import { type Kysely, sql } from 'kysely';
import { StagedFileBusyError } from './staging.errors';

interface Session {
  db: Kysely<Database>;
  end(): void;
  /** Resolves once the connection is back in its pool. */
  ended: Promise<void>;
}

/**
 * One writer per file over all processes: a lock of one Postgres session per process, so it ends with the process however that ends. A paused
 * process keeps it. What the writer records goes through the same session: once that is lost, nothing of it counts any more.
 */
export class WriterLocks {
  readonly #pool: Kysely<Database>;
  readonly #held = new Set<string>();
  #session: Promise<Session> | undefined;

  /** `databaseUrl`: a direct connection, or a pooler that keeps sessions. */
  constructor(databaseUrl: string) {
    // A second connection takes over after the first was lost, while the writers that had it are still ending.
    this.#pool = connect(databaseUrl, { poolSize: 2 });
  }

  /** @throws StagedFileBusyError when another has the lock */
  async run<T>(id: string, body: (session: Kysely<Database>) => Promise<T>): Promise<T> {
    // A session may take its own lock any number of times, so writers of this process are told apart here.
    if (this.#held.has(id)) throw new StagedFileBusyError(id);
    this.#held.add(id);
    let mine: Promise<Session> | undefined;
    try {
      mine = this.#session ??= this.#open();
      const { db } = await mine;
      const { rows } = await sql<{ locked: boolean }>`select pg_try_advisory_lock(${keyOf(id)}) as locked`.execute(db);
      if (rows[0]?.locked !== true) throw new StagedFileBusyError(id);
      try {
        return await body(db);
      } finally {
        await sql`select pg_advisory_unlock(${keyOf(id)})`.execute(db).catch(() => this.#abandon(mine));
      }
    } catch (err) {
      if (!(err instanceof StagedFileBusyError) && (await isBroken(mine))) this.#abandon(mine);
      throw err;
    } finally {
      this.#held.delete(id);
      if (this.#held.size === 0) this.#abandon(this.#session);
    }
  }

  async close(): Promise<void> {
    const session = this.#session;
    this.#abandon(session);
    await session?.then(({ ended }) => ended).catch(() => undefined);
    await this.#pool.destroy();
  }

  async #open(): Promise<Session> {
    const { promise: over, resolve: end } = Promise.withResolvers<void>();
    const { promise: opened, resolve, reject } = Promise.withResolvers<Kysely<Database>>();
    const ended = this.#pool
      .connection()
      .execute((db) => {
        resolve(db);
        return over;
      })
      .catch(reject);
    return { db: await opened, end, ended };
  }

  /** The next writer gets a session of its own; the locks of this one end with it. */
  #abandon(session: Promise<Session> | undefined): void {
    if (session === undefined) return;
    if (this.#session === session) this.#session = undefined;
    void session.then(
      ({ end }) => end(),
      () => undefined,
    );
  }
}

/** 64 bits: files that share a lock by chance would refuse each other's writers. */
const keyOf = (id: string) => sql`hashtextextended(${`staged-file:${id}`}, 0)`;

async function isBroken(session: Promise<Session> | undefined): Promise<boolean> {
  try {
    if (session !== undefined) await sql`select 1`.execute((await session).db);
    return false;
  } catch {
    // Whatever is the matter with it, it cannot be trusted to hold locks.
    return true;
  }
}
