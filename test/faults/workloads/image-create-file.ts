import { IMAGE_CREATE_STEPS } from '@ims/contract';
import { type FaultBench, outcomeOf, type Work, type Workload } from '../support/fault-bench';
import type { Source } from '../support/region-under-fault';

/** The import of a file: the main job. */
export const imageCreateFile: Workload = {
  name: 'image-create of a file',
  steps: [...IMAGE_CREATE_STEPS],
  begin: async (bench, name, random) => {
    const source = await bench.region.putNoise(`${name}.raw`, random.between(8, 96));
    const work = workOf({ bench, id: await bench.region.submit(source, name), source });
    return {
      ...work,
      tidy: async () => {
        await work.tidy?.();
        await bench.removeFile(source.key);
      },
    };
  },
};

/** An import that was accepted: it makes an image of the very bytes. */
export function workOf({ bench, id, source }: { bench: FaultBench; id: string; source: Source }): Work {
  return {
    jobIds: [id],
    dataBytes: source.dataBytes,
    check: async () => {
      const wrong = await outcomeOf(bench, id, ['succeeded']);
      if (wrong.length > 0) return wrong;
      return (await bench.region.guestSha256(id)) === source.sha256
        ? []
        : [`job ${id}: its image has other bytes than its source`];
    },
    tidy: async () => bench.deleteImage(await bench.imageOf(id)),
  };
}
