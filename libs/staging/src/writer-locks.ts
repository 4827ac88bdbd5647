import { connect, type Database } from '@ims/db';
import { type Kysely, sql } from 'kysely';
import { StagedFileBusyError } from './staging.errors';

interface Session {
  /** The connection that has the locks. */
  db: Promise<Kysely<Database>>;
  /** Writers that use it. It is left only by the last one: a connection in its pool must hold no lock. */
  writers: number;
  leave(): void;
  /** Resolves once the connection is back in its pool, or dropped. */
  left: Promise<void>;
}

/**
 * One writer per file over all processes: a lock of one Postgres session per process, so it ends with the process however that ends. A paused
 * process keeps it. What the writer records goes through the same session: once that is lost, nothing of it counts any more.
 */
export class WriterLocks {
  readonly #pool: Kysely<Database>;
  readonly #held = new Set<string>();
  /** Where the next writer takes its lock. */
  #session: Session | undefined;

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
    try {
      return await this.#once(id, body).catch((err: unknown) => {
        // The connection was lost since the last writer came; nothing has been locked or written yet.
        if (err instanceof NotLockedError) return this.#once(id, body);
        throw err;
      });
    } finally {
      this.#held.delete(id);
    }
  }

  async #once<T>(id: string, body: (session: Kysely<Database>) => Promise<T>): Promise<T> {
    const session = this.#enter();
    try {
      return await this.#locked(session, id, body);
    } finally {
      this.#leave(session);
    }
  }

  async #locked<T>(session: Session, id: string, body: (db: Kysely<Database>) => Promise<T>): Promise<T> {
    const db = await session.db.catch((err: unknown) => this.#lost(session, err));
    const { rows } = await sql<{ locked: boolean }>`select pg_try_advisory_lock(${keyOf(id)}) as locked`
      .execute(db)
      .catch((err: unknown) => this.#lost(session, err));
    if (rows[0]?.locked !== true) throw new StagedFileBusyError(id);
    try {
      return await body(db);
    } finally {
      await sql`select pg_advisory_unlock(${keyOf(id)})`.execute(db).catch(() => this.#replace(session));
    }
  }

  #lost(session: Session, cause: unknown): never {
    this.#replace(session);
    throw new NotLockedError('the session that holds the locks of writers is lost', { cause });
  }

  /** The next writer gets a session of its own. */
  #replace(session: Session): void {
    if (this.#session === session) this.#session = undefined;
  }

  #enter(): Session {
    const session = (this.#session ??= this.#open());
    session.writers += 1;
    return session;
  }

  #leave(session: Session): void {
    session.writers -= 1;
    if (session.writers > 0) return;
    this.#replace(session);
    session.leave();
  }

  #open(): Session {
    const { promise: over, resolve: leave } = Promise.withResolvers<void>();
    const { promise: db, resolve, reject } = Promise.withResolvers<Kysely<Database>>();
    // Whoever enters waits for it and hears of its failure.
    db.catch(() => undefined);
    const left = this.#pool
      .connection()
      .execute(async (connection) => {
        resolve(connection);
        await over;
        // What an unlock that failed has left; a broken connection is dropped by its pool.
        await sql`select pg_advisory_unlock_all()`.execute(connection).catch(() => undefined);
      })
      .catch(reject);
    return { db, writers: 0, leave, left };
  }

  /** Once no writer is under way any more. */
  async close(): Promise<void> {
    await this.#session?.left;
    await this.#pool.destroy();
  }
}

/** Nothing was locked, because the session was gone. */
class NotLockedError extends Error {
  override readonly name = 'NotLockedError';
}

/** 64 bits: files that share a lock by chance would refuse each other's writers. */
const keyOf = (id: string) => sql`hashtextextended(${`staged-file:${id}`}, 0)`;
