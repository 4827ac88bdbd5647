import { IMAGE_RECEIVE_STEPS } from '@ims/contract';
import { receiveJobId } from '@ims/peer';
import { waitFor } from '@ims/testing';
import { outcomeOf, type Workload } from '../support/fault-bench';
import { anImageToSend, orderCopy } from './image-replicate';

/** A copy from another region, watched where it arrives. */
export const imageReceive: Workload = {
  name: 'image-receive',
  steps: [...IMAGE_RECEIVE_STEPS],
  isBetweenRegions: true,
  begin: async (bench, name, random) => {
    const to = bench.region;
    const from = to.otherRegion;
    const { image, source } = await anImageToSend(from, name, random);
    const sender = await orderCopy({ from, to, image, name });
    const id = receiveJobId({ from: from.stack.region, to: to.stack.region, jobId: sender });
    // Here it is a job as soon as the request has come through.
    await waitFor(() => to.db.selectFrom('job').select('id').where('id', '=', id).executeTakeFirst(), {
      deadlineMs: 60_000,
      what: `job ${id} is accepted`,
      everyMs: 2,
    });
    return {
      jobIds: [id],
      jobIdsThere: [sender],
      dataBytes: source.dataBytes,
      check: async () => {
        const wrong = await outcomeOf(bench, id, ['succeeded']);
        if (wrong.length > 0) return wrong;
        return (await to.guestSha256(id)) === source.sha256
          ? []
          : [`job ${id}: its image has other bytes than the one of the other region`];
      },
      tidy: async () => {
        await to.deleteImage(await bench.imageOf(id));
        await from.deleteImage(image);
        await from.removeFile(source.key);
      },
    };
  },
};
