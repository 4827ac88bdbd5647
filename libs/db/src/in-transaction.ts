import { setTimeout as delay } from 'node:timers/promises';
import type { Kysely, Transaction } from 'kysely';
import type { Database } from './db-types';

// Two transactions that met in a deadlock or serialization failure rarely meet again; five losses in a row mean that something else is wrong.
const ATTEMPTS = 6;
// First pause; doubled each time and spread at random so that the losers do not meet again. Longest total wait is under a second.
const FIRST_PAUSE_MS = 10;

// https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html
const RETRYABLE = new Set(['40001', '40P01']);

/** SQLSTATE of an error that came from Postgres, also when it is wrapped; `undefined` for every other error. */
export function sqlState(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if ('code' in error && typeof error.code === 'string' && /^[0-9A-Z]{5}$/.test(error.code)) return error.code;
  return sqlState(error.cause);
}

/**
 * Runs `fn` in one transaction (read committed) and commits it; any error rolls it back and is thrown.
 *
 * After a deadlock (40P01) or serialization failure (40001) Postgres has undone everything, so `fn` runs again from its start:
 * it must have no effect outside the transaction. Only this file opens transactions.
 *
 * @example
 * const used = await inTransaction(db, async (trx) => {
 *   await appendEvents(trx, context, events);
 *   return quota.read(trx, projectId);
 * });
 */
export async function inTransaction<T>(
  db: Kysely<Database>,
  fn: (trx: Transaction<Database>) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await db.transaction().setIsolationLevel('read committed').execute(fn);
    } catch (error) {
      if (attempt === ATTEMPTS || !RETRYABLE.has(sqlState(error) ?? '')) throw error;
      await delay(FIRST_PAUSE_MS * 2 ** (attempt - 1) * (0.5 + Math.random()));
    }
  }
}

/**
 * Runs `fn` on one unchanging view of the database (repeatable read, read only). It takes no transaction id, so however long it
 * lasts it does not hold back readers of the event log.
 */
export async function inSnapshot<T>(db: Kysely<Database>, fn: (trx: Transaction<Database>) => Promise<T>): Promise<T> {
  return db.transaction().setIsolationLevel('repeatable read').setAccessMode('read only').execute(fn);
}
