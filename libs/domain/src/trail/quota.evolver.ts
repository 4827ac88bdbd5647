import { EvolutionError, type PastEvent } from './evolve';

/** What a project has taken of a quota, as far as events say; named as its row is, which says the same (invariant I5). */
export interface QuotaUseState {
  project_id: string;
  resource: string;
  /** `null` while it is the default of the region. */
  quota_limit: number | null;
  used: number;
  reserved: number;
}

/**
 * A quota after one more event of its stream, as `evolveJob` for jobs. Events of other streams change nothing.
 *
 * @throws EvolutionError more is given back than was taken
 */
export function evolveQuota(state: QuotaUseState | undefined, event: PastEvent): QuotaUseState | undefined {
  const before = (resource: string): QuotaUseState =>
    state ?? { project_id: event.projectId, resource, quota_limit: null, used: 0, reserved: 0 };
  const take = (quota: QuotaUseState, from: 'used' | 'reserved', amount: number): QuotaUseState => {
    if (quota[from] < amount) throw new EvolutionError(event, `${quota[from]} are ${from}, not ${amount}`);
    return { ...quota, [from]: quota[from] - amount };
  };
  switch (event.type) {
    case 'quota.limit-set':
      return { ...before(event.data.resource), quota_limit: event.data.limit };
    case 'quota.reserved': {
      const quota = before(event.data.resource);
      return { ...quota, reserved: quota.reserved + event.data.amount };
    }
    case 'quota.settled': {
      const quota = take(before(event.data.resource), 'reserved', event.data.amount);
      return { ...quota, used: quota.used + event.data.amount };
    }
    case 'quota.released':
      return take(before(event.data.resource), event.data.from, event.data.amount);
    default:
      return state;
  }
}
