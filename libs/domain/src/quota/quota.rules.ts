import { type ErrorCode, ImsError, type QuotaResource } from '@ims/contract';

/** A row of the quota projection; all zero and `limit` null when there is none yet. */
export interface QuotaState {
  /** `null`: the default of the resource. */
  limit: number | null;
  used: number;
  reserved: number;
}

/** CRE-23: 50 private images per region. CRE-24: 40 create tasks at once. */
export const DEFAULT_QUOTA: Readonly<Record<QuotaResource, number>> = { image: 50, create_task: 40 };

/** Fails with `code` unless one more fits. Reservations count like use: a job that was accepted must be able to end. */
export function checkQuota(state: QuotaState, defaultLimit: number, code: ErrorCode): void {
  const limit = state.limit ?? defaultLimit;
  if (state.used + state.reserved + 1 > limit) throw new ImsError(code, `the limit is ${limit}`);
}
