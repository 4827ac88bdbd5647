import { createHash } from 'node:crypto';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { IMAGE_EXPORT_STEPS } from '@ims/contract';
import { jobStarted, outcomeOf, type Workload } from '../support/fault-bench';

/** An image written into a bucket, compressed: the object and its sums, whole, or nothing. */
export const imageExport: Workload = {
  name: 'image-export',
  steps: [...IMAGE_EXPORT_STEPS],
  begin: async (bench, name) => {
    const { stack } = bench.region;
    const source = await bench.smallFile();
    const body = { name, image_url: `images:${source.key}`, min_disk: 1 };
    const { entities } = await stack.runJob('/v2/cloudimages/action', body);
    const key = `${name}.vmdk`;
    const path = `/v1/cloudimages/${entities.image_id}/file`;
    const { id } = await jobStarted(bench, 'POST', path, { bucket_url: `images:${key}`, file_format: 'vmdk' });
    const object = join(stack.bucketDirectory, key);
    return {
      jobIds: [id],
      check: async () => {
        const wrong = await outcomeOf(bench, id, ['succeeded']);
        if (wrong.length > 0) return wrong;
        const sum = createHash('sha256')
          .update(await readFile(object))
          .digest('hex');
        if ((await readFile(`${object}.sha256`, 'utf8')) !== `${sum}  ${key}\n`) wrong.push(`job ${id}: wrong sums`);
        const left = await readdir(join(stack.bucketDirectory, '.ims-incoming')).catch(() => new Array<string>());
        return left.length === 0 ? wrong : [...wrong, `job ${id}: ${left.join()} left of an upload`];
      },
      tidy: async () => {
        await bench.deleteImage(entities.image_id);
        for (const file of [object, `${object}.sha256`]) await rm(file, { force: true });
      },
    };
  },
};
