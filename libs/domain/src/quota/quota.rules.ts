import { type ErrorCode, ImsError, type ProjectId, type QuotaResource, quotaStream } from '@ims/contract';
import type { DomainEvent } from '../domain-event';

/** A row of the quota projection; all zero and `limit` null when there is none yet. */
export interface QuotaState {
  /** `null`: the default of the resource. */
  limit: number | null;
  used: number;
  reserved: number;
}

/** CRE-23: 50 private images per region. CRE-24: 40 create tasks at once. */
export const DEFAULT_QUOTA: Readonly<Record<QuotaResource, number>> = { image: 50, create_task: 40 };

/** What a limit may be set to (sample of ims-api 11). */
export const QUOTA_BOUNDS = { min: 1, max: 1000 } as const;

/** Fails with `code` unless one more fits. Reservations count like use: a job that was accepted must be able to end. */
export function checkQuota(state: QuotaState, defaultLimit: number, code: ErrorCode): void {
  const limit = state.limit ?? defaultLimit;
  if (state.used + state.reserved + 1 > limit) throw new ImsError(code, `the limit is ${limit}`);
}

/**
 * Raises or lowers what a project may have of a resource (CRE-23, CRE-24). A limit below what there is takes nothing away; nothing new fits until
 * there is room again.
 *
 * @throws ImsError IMG.0001 beyond `QUOTA_BOUNDS`
 */
export function decideSetLimit(
  state: QuotaState,
  command: { projectId: ProjectId; resource: QuotaResource; limit: number; requestId: string },
): DomainEvent[] {
  const { projectId, resource, limit, requestId } = command;
  const { min, max } = QUOTA_BOUNDS;
  if (!Number.isInteger(limit) || limit < min || limit > max)
    throw new ImsError('IMG.0001', `quota must be a whole number from ${min} to ${max}`);
  if (state.limit === limit) return [];
  return [
    {
      type: 'quota.limit-set',
      stream: quotaStream(projectId, resource),
      key: `limit:${requestId}`,
      data: { resource, limit },
    },
  ];
}
