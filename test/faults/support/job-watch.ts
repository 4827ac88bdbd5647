import { waitFor } from '@ims/testing';
import type { RegionUnderFault } from './region-under-fault';

/** Looks at jobs through the API until told to stop; what goes back or changes after its end is a violation (I12). */
export function watchJobs(region: RegionUnderFault, ids: readonly string[]): { stop(): Promise<string[]> } {
  const found: string[] = [];
  const last = new Map<string, { status: string; percent: number }>();
  let isStopped = false;
  const look = async (): Promise<boolean> => {
    for (const id of ids) {
      const path = `/v1/${region.stack.identity.projectId}/jobs/${id}`;
      const answer = await region.stack.call('GET', path).catch(() => undefined);
      // While a part is dead there may be no answer, or one that says so.
      if (answer === undefined || answer.status >= 500) continue;
      if (answer.status !== 200) {
        found.push(`job ${id}: an accepted job answers ${answer.status}`);
        continue;
      }
      // The contract's own shape (JobDocument).
      const job = answer.json as { status: string; entities: { process_percent: number } };
      const before = last.get(id);
      const percent = job.entities.process_percent;
      if (before && percent < before.percent) found.push(`job ${id}: progress from ${before.percent} to ${percent}`);
      if (before && ['SUCCESS', 'FAIL'].includes(before.status) && job.status !== before.status)
        found.push(`job ${id}: ${before.status} became ${job.status}`);
      last.set(id, { status: job.status, percent });
    }
    return isStopped;
  };
  const ended = waitFor(look, { deadlineMs: 600_000, what: 'the watch is called off', everyMs: 100 });
  return {
    stop: async () => {
      isStopped = true;
      await ended;
      return found;
    },
  };
}
