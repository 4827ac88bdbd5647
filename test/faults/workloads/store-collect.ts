import { copyFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { SERVICE_PROJECT, STORE_COLLECT_STEPS } from '@ims/contract';
import { type FaultBench, outcomeOf, type Workload } from '../support/fault-bench';

const MIB = 2 ** 20;
const DATA_MIB = 96;
// A third of the pack stays live, so the pass copies it into another pack and removes the first.
const KEPT_MIB = 32;

/** A pass of the collector over garbage beside live bytes, which it moves: they must be there afterwards, and the same. */
export const storeCollect: Workload = {
  name: 'store-collect',
  steps: [...STORE_COLLECT_STEPS],
  begin: async (bench, name) => {
    const { region } = bench;
    const whole = await region.putNoise(`${name}.raw`, DATA_MIB);
    const kept = `${name}-kept.raw`;
    const directory = region.stack.bucketDirectory;
    await copyFile(join(directory, whole.key), join(directory, kept));
    await truncate(join(directory, kept), (KEPT_MIB + 1) * MIB);
    const first = await region.submit(whole, `${name}-whole`);
    await region.settle([first]);
    const second = await region.submit({ ...whole, key: kept }, `${name}-kept`);
    await region.settle([second]);
    const sha256 = await region.guestSha256(second);
    await bench.deleteImage(await bench.imageOf(first));
    const jobIds: string[] = [];
    return {
      jobIds,
      go: async () => void jobIds.push(await orderPass(bench)),
      // A pass runs before its order is answered.
      running: async () => (await region.running()).filter(({ saga }) => saga === 'store-collect'),
      check: async () => {
        const wrong = (await Promise.all(jobIds.map((id) => outcomeOf(bench, id, ['succeeded'])))).flat();
        if ((await region.guestSha256(second)) !== sha256)
          wrong.push(`image of job ${second}: its bytes differ after the pass`);
        return wrong;
      },
      tidy: async () => {
        await bench.deleteImage(await bench.imageOf(second));
        for (const key of [whole.key, kept]) await bench.removeFile(key);
      },
    };
  },
};

/** A pass of ours, or the one that the worker has just ordered itself. */
async function orderPass(bench: FaultBench): Promise<string> {
  const ordered = await bench.collection.order({ isByHand: true });
  if (ordered !== undefined) return ordered;
  const { id } = await bench.region.db
    .selectFrom('job')
    .select('id')
    .where('project_id', '=', SERVICE_PROJECT)
    .orderBy('begin_at', 'desc')
    .executeTakeFirstOrThrow();
  return id;
}
