import type { PastEvent } from './evolve';

/** What a project has chosen about its recycle bin, as far as events say; named as its row is, which says the same (invariant I5). */
export interface RecycleBinState {
  project_id: string;
  /** `null`: what the installation says. */
  retention_days: number | null;
}

/** A choice after one more event of its stream, as `evolveJob` for jobs. Events of other streams change nothing. */
export function evolveRecycleBin(state: RecycleBinState | undefined, event: PastEvent): RecycleBinState | undefined {
  if (event.type !== 'recycle-bin.retention-set') return state;
  return { project_id: event.projectId, retention_days: event.data.retentionDays };
}
