import { outcomeOf, type Workload } from '../support/fault-bench';

/** An import that is called off somewhere in its transfer: it unwinds, or was quicker. */
export const imageCreateCancelled: Workload = {
  name: 'image-create, cancelled',
  steps: ['undo:ingest'],
  begin: async (bench, name, random) => {
    const { region } = bench;
    const source = await region.putNoise(`${name}.raw`, random.between(32, 96));
    const id = await region.submit(source, name);
    await region.reaches(id, random.next() * source.dataBytes);
    return {
      jobIds: [id],
      go: async () => {
        await region.cancel(id);
      },
      check: () => outcomeOf(bench, id, ['cancelled', 'succeeded']),
      tidy: async () => {
        if ((await region.job(id)).outcome === 'succeeded') await bench.deleteImage(await bench.imageOf(id));
        await bench.removeFile(source.key);
      },
    };
  },
};
