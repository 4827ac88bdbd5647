import { IMAGE_COPY_STEPS } from '@ims/contract';
import { anImage, type FaultBench, jobStarted, outcomeOf, type Workload } from '../support/fault-bench';

/** A copy under a key of its own, so that every byte of it has to be written. */
export const imageCopy: Workload = {
  name: 'image-copy',
  steps: [...IMAGE_COPY_STEPS],
  begin: async (bench, name) => {
    const source = await bench.smallFile();
    const image = await bench.once('an image to copy', () => anImage(bench));
    const cmkId = await aKey(bench, name);
    const { id } = await jobStarted(bench, 'POST', `/v1/cloudimages/${image}/copy`, { name, cmk_id: cmkId });
    return {
      jobIds: [id],
      check: async () => {
        const wrong = await outcomeOf(bench, id, ['succeeded']);
        if (wrong.length > 0) return wrong;
        const found = await bench.region.guestSha256(id);
        return found === source.sha256 ? [] : [`job ${id}: the copy has other bytes than the image`];
      },
      tidy: async () => {
        await bench.region.stack.call('DELETE', `/v2/images/${await bench.imageOf(id)}`);
      },
    };
  },
};

async function aKey({ region: { stack } }: FaultBench, name: string): Promise<string> {
  const path = `/v1.0/${stack.identity.projectId}/kms/create-key`;
  const { status, json, text } = await stack.call('POST', path, { key_alias: name.replace(/[^a-zA-Z0-9:/_-]/g, '-') });
  if (status !== 200) throw new Error(`POST ${path}: ${status} ${text}`);
  // createdKey of the contract.
  return (json as { key_info: { key_id: string } }).key_info.key_id;
}
