import { IMAGE_DELETE_STEPS, imageDeleteJobId, imageId } from '@ims/contract';
import { outcomeOf, type Workload } from '../support/fault-bench';

// Steps of milliseconds: of several at once a kill meets one.
const IMAGES = 4;

/** What follows the deletion of images: it comes to its end whatever happens, and the images stay gone. */
export const imageDelete: Workload = {
  name: 'image-delete',
  steps: [...IMAGE_DELETE_STEPS],
  begin: async (bench, name) => {
    const { region } = bench;
    const source = await bench.smallFile();
    const made: string[] = [];
    for (let n = 0; n < IMAGES; n++) made.push(await region.submit(source, `${name}-${n}`));
    await region.settle(made);
    const images = await Promise.all(made.map((id) => bench.imageOf(id)));
    const jobIds = images.map((id) => imageDeleteJobId(imageId(id)));
    return {
      jobIds,
      go: async () => {
        for (const { status } of await Promise.all(images.map((id) => region.stack.call('DELETE', `/v2/images/${id}`))))
          if (status !== 204 && status !== 404) throw new Error(`DELETE of an image: ${status}`);
      },
      check: async () => {
        const wrong = (await Promise.all(jobIds.map((id) => outcomeOf(bench, id, ['succeeded'])))).flat();
        for (const id of images) {
          const { status } = await region.stack.call('GET', `/v2/images/${id}`);
          if (status !== 404) wrong.push(`image ${id}: deleted, and its document answers ${status}`);
        }
        return wrong;
      },
    };
  },
};
