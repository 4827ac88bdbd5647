import { IMAGE_RECEIVE_STEPS, IMAGE_REPLICATE_STEPS } from '@ims/contract';
import { receiveJobId } from '@ims/peer';
import { outcomeOf, type Workload } from '../support/fault-bench';
import type { RegionUnderFault, Source } from '../support/region-under-fault';
import type { SeededRandom } from '../support/seeded-random';

/** A copy to another region: its own steps, and those of the job that it starts there. */
export const imageReplicate: Workload = {
  name: 'image-replicate',
  steps: [...IMAGE_REPLICATE_STEPS, ...IMAGE_RECEIVE_STEPS],
  isBetweenRegions: true,
  begin: async (bench, name, random) => {
    const from = bench.region;
    const to = from.otherRegion;
    const { image, source } = await anImageToSend(from, name, random);
    const id = await orderCopy({ from, to, image, name });
    return {
      jobIds: [id],
      jobIdsThere: [receiveJobId({ from: from.stack.region, to: to.stack.region, jobId: id })],
      dataBytes: source.dataBytes,
      check: async () => {
        const wrong = await outcomeOf(bench, id, ['succeeded']);
        if (wrong.length > 0) return wrong;
        const found = await to.stack.guestSha256(await bench.imageOf(id));
        return found === source.sha256 ? [] : [`job ${id}: its replica has other bytes than the image`];
      },
      tidy: async () => {
        await to.deleteImage(await bench.imageOf(id));
        await from.deleteImage(image);
        await bench.removeFile(source.key);
      },
    };
  },
};

/** An active image of a region with bytes of its own: what another region has already is not sent. */
export async function anImageToSend(
  region: RegionUnderFault,
  name: string,
  random: SeededRandom,
): Promise<{ image: string; source: Source }> {
  const source = await region.putNoise(`${name}.raw`, random.between(8, 64));
  const made = await region.submit(source, name);
  await region.settle([made]);
  return { image: (await region.job(made)).image_id ?? '', source };
}

/** Orders the copy of an image to another region; resolves with the id of the job that sends it. */
export async function orderCopy({
  from,
  to,
  image,
  name,
}: {
  from: RegionUnderFault;
  to: RegionUnderFault;
  image: string;
  name: string;
}): Promise<string> {
  const { region: target } = to.stack;
  const path = `/v1/cloudimages/${image}/cross_region_copy`;
  const request = { name, region: target, project_name: target, agency_name: 'ims_copy_agency' };
  const { status, json, text } = await from.stack.call('POST', path, request);
  if (status !== 200) throw new Error(`POST ${path}: ${status} ${text}`);
  // JobAccepted of the contract.
  return (json as { job_id: string }).job_id;
}
