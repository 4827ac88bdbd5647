import { type Kysely, sql } from 'kysely';
import type { Database } from '../db-types';

/** A call that holds its key: no other call of the key does anything as long as it does. */
export interface IdempotencyClaim {
  projectId: string;
  operation: string;
  key: string;
  /** Tells this holder from an earlier one of the same key. */
  claimId: string;
}

/** What a call was answered with. */
export interface KeptAnswer {
  status: number;
  headers: Readonly<Record<string, string | number>>;
  /** JSON text, byte for byte; `null` for none. */
  body: string | null;
}

export interface ClaimRequest extends IdempotencyClaim {
  /** Hash of who calls and of what is asked for. */
  fingerprint: string;
  /** Whether all that the call changes is recorded by events: then a claim without effect has done nothing. */
  isRecorded: boolean;
}

export interface ClaimTimes {
  now: Date;
  /** How long answers are kept. */
  keepMs: number;
  /** How long a call may take until its process is taken for dead. */
  leaseMs: number;
}

/**
 * `claimed`: do the call. `answered`: it was done. `other`: the key was given to another call. `under-way`: somebody is about it. `unknown`: somebody
 * was, has changed something or may have, and has left no answer.
 */
export type ClaimOutcome =
  { kind: 'claimed' | 'other' | 'under-way' | 'unknown' } | { kind: 'answered'; answer: KeptAnswer };

/** The key was taken over by another call meanwhile: what this one was about to do must not be committed. */
export class ClaimLostError extends Error {
  override readonly name = 'ClaimLostError';

  constructor({ operation, key }: IdempotencyClaim) {
    super(`${operation} with key ${key}: another call has taken the key over`);
  }
}

/** Keys of calls that must not be done twice. */
export class IdempotencyRepository {
  constructor(private readonly db: Kysely<Database>) {}

  /**
   * Takes the key for one call. A key that is past its time is free again; so is one whose holder seems dead and has recorded nothing: should it live
   * after all, `settle` refuses its commit.
   */
  async claim(request: ClaimRequest, { now, keepMs, leaseMs }: ClaimTimes): Promise<ClaimOutcome> {
    const { projectId, operation, key, fingerprint, claimId, isRecorded } = request;
    const keptSince = new Date(now.getTime() - keepMs);
    const aliveSince = new Date(now.getTime() - leaseMs);
    for (;;) {
      const { rows } = await sql`
        insert into idempotency_key as k (project_id, operation, key, fingerprint, claim_id, claimed_at, is_recorded)
        values (${projectId}, ${operation}, ${key}, ${fingerprint}, ${claimId}, ${now}, ${isRecorded})
        on conflict (project_id, operation, key) do update
          set fingerprint = excluded.fingerprint, claim_id = excluded.claim_id, claimed_at = excluded.claimed_at,
            is_recorded = excluded.is_recorded, effect_at = null, status = null, headers = null, body = null
          where k.claimed_at < ${keptSince}
            or (k.claimed_at < ${aliveSince} and k.fingerprint = excluded.fingerprint
              and k.is_recorded and k.effect_at is null and k.status is null)
        returning claim_id`.execute(this.db);
      if (rows.length > 0) return { kind: 'claimed' };
      const held = await this.db
        .selectFrom('idempotency_key')
        .selectAll()
        .where('project_id', '=', projectId)
        .where('operation', '=', operation)
        .where('key', '=', key)
        .executeTakeFirst();
      // Released in between: the key is free.
      if (held === undefined) continue;
      if (held.fingerprint !== fingerprint) return { kind: 'other' };
      if (held.status !== null) {
        const { status, body } = held;
        // Written by `settle` and `answer` alone.
        const headers = (held.headers ?? {}) as KeptAnswer['headers'];
        return { kind: 'answered', answer: { status, headers, body } };
      }
      return { kind: held.claimed_at < aliveSince ? 'unknown' : 'under-way' };
    }
  }

  /**
   * Notes that the transaction at hand is what the call does; on a repository made for that transaction. Its commit keeps the answer too, where it is
   * known by then.
   *
   * @throws ClaimLostError the transaction must be rolled back
   */
  async settle(claim: IdempotencyClaim, now: Date, answer?: KeptAnswer): Promise<void> {
    const { numUpdatedRows } = await this.#held(claim)
      .set({ effect_at: now, ...(answer === undefined ? {} : columnsOf(answer)) })
      .executeTakeFirst();
    if (numUpdatedRows === 0n) throw new ClaimLostError(claim);
  }

  /** Keeps the answer of a call that is done; one that its transaction has kept stays. */
  async answer(claim: IdempotencyClaim, answer: KeptAnswer): Promise<void> {
    await this.#held(claim).set(columnsOf(answer)).where('status', 'is', null).execute();
  }

  /** Gives the key back after a call that was refused; not after one that has had an effect. */
  async release({ projectId, operation, key, claimId }: IdempotencyClaim): Promise<void> {
    await this.db
      .deleteFrom('idempotency_key')
      .where('project_id', '=', projectId)
      .where('operation', '=', operation)
      .where('key', '=', key)
      .where('claim_id', '=', claimId)
      .where('effect_at', 'is', null)
      .where('status', 'is', null)
      .execute();
  }

  /** Removes at most `limit` keys claimed before `before`, the oldest first. Index `idempotency_key_claimed`. @returns how many */
  async sweep(before: Date, limit: number): Promise<number> {
    const { numAffectedRows } = await sql`
      delete from idempotency_key where (project_id, operation, key) in (
        select project_id, operation, key from idempotency_key where claimed_at < ${before}
        order by claimed_at limit ${limit} for update skip locked)`.execute(this.db);
    return Number(numAffectedRows ?? 0n);
  }

  #held({ projectId, operation, key, claimId }: IdempotencyClaim) {
    return this.db
      .updateTable('idempotency_key')
      .where('project_id', '=', projectId)
      .where('operation', '=', operation)
      .where('key', '=', key)
      .where('claim_id', '=', claimId);
  }
}

const columnsOf = ({ status, headers, body }: KeptAnswer) => ({ status, headers: JSON.stringify(headers), body });
