import { SERVER_CREATE_STEPS } from '@ims/contract';
import { anImage, jobStarted, outcomeOf, type Workload } from '../support/fault-bench';

/** A server made from an image: one, with its disk, whatever was killed. */
export const serverCreate: Workload = {
  name: 'server-create',
  steps: SERVER_CREATE_STEPS.filter((step) => step !== 'boot-check'),
  begin: async (bench, name) => {
    const { region, cloud } = bench;
    const { projectId } = region.stack.identity;
    const imageRef = await bench.once('an image', () => anImage(bench));
    const server = { name, imageRef, flavorRef: 's6.large.2' };
    const { id, serverIds } = await jobStarted(bench, 'POST', `/v1.1/${projectId}/cloudservers`, { server });
    return {
      jobIds: [id],
      check: async () => {
        const wrong = await outcomeOf(bench, id, ['succeeded']);
        const made = (await cloud.servers.list(projectId)).filter((each) => each.name === name);
        if (made.map((each) => each.id).join() !== serverIds.join())
          wrong.push(`job ${id}: ${made.length} servers instead of those that its answer named`);
        return [...wrong, ...made.flatMap(({ volumes }) => (volumes.length === 1 ? [] : [`${volumes.length} disks`]))];
      },
      tidy: async () => {
        const servers = serverIds.map((serverId) => ({ id: serverId }));
        await jobStarted(bench, 'POST', `/v1/${projectId}/cloudservers/delete`, { servers, delete_volume: true });
      },
    };
  },
};
