import { VOLUME_CREATE_STEPS } from '@ims/contract';
import { anImage, jobStarted, outcomeOf, type Workload } from '../support/fault-bench';

/** A disk made from an image, whose bytes it reads when it is first asked. */
export const volumeCreate: Workload = {
  name: 'volume-create',
  steps: [...VOLUME_CREATE_STEPS],
  begin: async (bench, name) => {
    const { region, cloud } = bench;
    const { projectId } = region.stack.identity;
    const imageRef = await bench.once('an image', () => anImage(bench));
    const path = `/v2/${projectId}/cloudvolumes`;
    const { id } = await jobStarted(bench, 'POST', path, { volume: { name, imageRef, size: 40, count: 1 } });
    const made = async () => (await cloud.volumes.list(projectId)).filter((volume) => volume.name === name);
    return {
      jobIds: [id],
      check: async () => {
        const wrong = await outcomeOf(bench, id, ['succeeded']);
        const volumes = await made();
        return volumes.length === 1 ? wrong : [...wrong, `job ${id}: ${volumes.length} disks`];
      },
      tidy: async () => {
        for (const volume of await made()) await jobStarted(bench, 'DELETE', `${path}/${volume.id}`);
      },
    };
  },
};
