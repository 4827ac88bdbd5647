import { IMAGE_REPLICATE_STEPS } from '@ims/contract';
import { waitFor } from '@ims/testing';
import { anImage, type FaultBench, outcomeOf, type Workload } from '../support/fault-bench';

/** A copy to another region, killed where it is sent from. */
export const imageReplicate: Workload = {
  name: 'image-replicate',
  steps: [...IMAGE_REPLICATE_STEPS],
  begin: async (bench, name) => {
    const source = await bench.smallFile();
    const image = await bench.once('an image to send', () => anImage(bench));
    const { otherRegion } = bench.region;
    const id = await accepted(bench, image, name);
    return {
      jobIds: [id],
      check: async () => {
        const wrong = await outcomeOf(bench, id, ['succeeded']);
        if (wrong.length > 0) return wrong;
        const found = await otherRegion.guestSha256(await bench.imageOf(id));
        return found === source.sha256 ? [] : [`job ${id}: its replica has other bytes than the image`];
      },
      tidy: async () => {
        await otherRegion.call('DELETE', `/v2/images/${await bench.imageOf(id)}`);
      },
    };
  },
};

/** One copy of an image at a time is accepted (REP-09): a trial that comes upon another one's waits for it. */
const accepted = (bench: FaultBench, image: string, name: string): Promise<string> =>
  waitFor(
    async () => {
      const { region: target } = bench.region.otherRegion;
      const request = { name, region: target, project_name: target, agency_name: 'ims_copy_agency' };
      const path = `/v1/cloudimages/${image}/cross_region_copy`;
      const { status, json, text } = await bench.region.stack.call('POST', path, request);
      if (text.includes('IMG.0149')) return undefined;
      if (status !== 200) throw new Error(`POST ${path}: ${status} ${text}`);
      // JobAccepted of the contract.
      return (json as { job_id: string }).job_id;
    },
    { deadlineMs: 60_000, what: 'a copy is accepted' },
  );
