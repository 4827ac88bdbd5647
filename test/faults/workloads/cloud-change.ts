import { randomUUID } from 'node:crypto';
import { outcomeOf, type Workload } from '../support/fault-bench';

// Steps of milliseconds: of several in a row a kill meets one.
const DISKS = 3;

/** Disks that are deleted: a step that cannot be undone comes to its end. */
export const cloudChange: Workload = {
  name: 'cloud-change',
  steps: ['change'],
  begin: async (bench) => {
    const { region, cloud } = bench;
    const { projectId } = region.stack.identity;
    const ids = Array.from({ length: DISKS }, () => randomUUID());
    for (const id of ids)
      await cloud.volumes.create({ id, projectId, sizeGib: 10, use: 'data', origin: { from: 'blank' } });
    const jobIds: string[] = [];
    return {
      jobIds,
      go: async () => {
        for (const id of ids) {
          const { status, json } = await region.stack.call('DELETE', `/v2/${projectId}/cloudvolumes/${id}`);
          if (status >= 500) throw new Error(`DELETE of disk ${id}: ${status}`);
          // JobAccepted of the contract. Asked again, the disk is gone or being deleted.
          if (status === 200) jobIds.push((json as { job_id: string }).job_id);
        }
      },
      running: async () => (await region.running()).filter(({ saga }) => saga === 'cloud-change'),
      check: async () => {
        const wrong = (await Promise.all(jobIds.map((id) => outcomeOf(bench, id, ['succeeded'])))).flat();
        for (const id of ids)
          if ((await cloud.volumes.get(projectId, id)) !== undefined) wrong.push(`disk ${id}: is still there`);
        return wrong;
      },
    };
  },
};
