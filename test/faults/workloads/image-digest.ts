import { createHash } from 'node:crypto';
import { imageDigestWorkflowId, imageId } from '@ims/contract';
import type { Workload } from '../support/fault-bench';

const DATA_MIB = 160;

/** The digests of a download, which come after the job: they are those of the very bytes, also when the engine has forgotten them. */
export const imageDigest: Workload = {
  name: 'image-digest',
  steps: ['digestImage'],
  begin: async (bench, name) => {
    const { region } = bench;
    const source = await region.putNoise(`${name}.raw`, DATA_MIB);
    const id = await region.submit(source, name);
    await region.settle([id]);
    const image = await bench.imageOf(id);
    const workflowId = imageDigestWorkflowId(imageId(image));
    const digests = () =>
      region.db.selectFrom('image').select(['md5', 'sha512']).where('id', '=', image).executeTakeFirstOrThrow();
    return {
      jobIds: [id],
      running: async () =>
        (await region.activitiesUnderWay(workflowId)).map((step) => ({ jobId: workflowId, step, attemptId: -1 })),
      hasEnded: async () => (await digests()).sha512 !== null,
      check: async () => {
        const body = await region.stack.download(`/v2/images/${image}/file`);
        const md5 = createHash('md5').update(body).digest('hex');
        const { md5: recorded } = await digests();
        return recorded === md5 ? [] : [`image ${image}: has digest ${md5}, and ${recorded ?? 'none'} is recorded`];
      },
      tidy: async () => {
        await bench.deleteImage(image);
        await bench.removeFile(source.key);
      },
    };
  },
};
