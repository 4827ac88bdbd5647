import { IMAGE_BATCH_STEPS } from '@ims/contract';
import { outcomeOf, type Workload } from '../support/fault-bench';

const MIB = 24;

/** A system image and a data image by one call: a job of two jobs, which end with it. */
export const imageBatch: Workload = {
  name: 'image-batch',
  // Its own step is a moment after those of its parts.
  steps: ['ingest', 'publish', ...IMAGE_BATCH_STEPS],
  begin: async (bench, name) => {
    const { region } = bench;
    const [system, data] = [await region.putNoise(`${name}.raw`, MIB), await region.putNoise(`${name}-data.raw`, MIB)];
    const id = await bench.accepted('/v2/cloudimages/action', {
      name,
      image_url: `images:${system.key}`,
      min_disk: 1,
      os_version: 'Debian GNU/Linux 10.0.0 64bit',
      data_images: [{ name: `${name}-data`, image_url: `images:${data.key}`, min_disk: 1 }],
    });
    const parts = () =>
      region.db
        .selectFrom('job')
        .select(['id', 'image_name'])
        .where('parent_id', '=', id)
        .orderBy('image_name')
        .execute();
    return {
      jobIds: [id],
      running: async () => {
        const ids = [id, ...(await parts()).map((part) => part.id)];
        return (await region.running()).filter(({ jobId }) => ids.includes(jobId));
      },
      check: async () => {
        const wrong = await outcomeOf(bench, id, ['succeeded']);
        if (wrong.length > 0) return wrong;
        for (const part of await parts()) {
          const { sha256 } = part.image_name === name ? system : data;
          if ((await region.guestSha256(part.id)) !== sha256)
            wrong.push(`job ${part.id}: its image has other bytes than its source`);
        }
        return wrong;
      },
      tidy: async () => {
        for (const part of await parts()) await bench.deleteImage(await bench.imageOf(part.id));
        for (const { key } of [system, data]) await bench.removeFile(key);
      },
    };
  },
};
