import { IMAGE_RECEIVE_STEPS } from '@ims/contract';
import { noise, waitFor } from '@ims/testing';
import { receiveJobId } from '@ims/peer';
import { writeFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { outcomeOf, type Workload } from '../support/fault-bench';

const MIB = 2 ** 20;

/** A copy from another region, killed where it arrives. */
export const imageReceive: Workload = {
  name: 'image-receive',
  steps: [...IMAGE_RECEIVE_STEPS],
  begin: async (bench, name, random) => {
    const { otherRegion, stack } = bench.region;
    const bytes = noise(name, random.between(8, 64) * MIB);
    const key = `${name}.raw`;
    await writeFile(join(otherRegion.bucketDirectory, key), bytes);
    const made = await otherRegion.runJob('/v2/cloudimages/action', {
      name,
      image_url: `images:${key}`,
      min_disk: 1,
      os_version: 'Debian GNU/Linux 10.0.0 64bit',
    });
    const { image_id: image } = made.entities;
    const path = `/v1/cloudimages/${image}/cross_region_copy`;
    const { region: target } = stack;
    const request = { name, region: target, project_name: target, agency_name: 'ims_copy_agency' };
    const answer = await otherRegion.call('POST', path, request);
    if (answer.status !== 200) throw new Error(`POST ${path}: ${answer.status} ${answer.text}`);
    // JobAccepted of the contract.
    const { job_id: sender } = answer.json as { job_id: string };
    const id = receiveJobId({ from: otherRegion.region, to: target, jobId: sender });
    // Here it is a job as soon as the request has come through.
    await waitFor(() => bench.region.db.selectFrom('job').select('id').where('id', '=', id).executeTakeFirst(), {
      deadlineMs: 60_000,
      what: `job ${id} is accepted`,
      everyMs: 2,
    });
    return {
      jobIds: [id],
      dataBytes: bytes.length,
      check: async () => {
        const wrong = await outcomeOf(bench, id, ['succeeded']);
        if (wrong.length > 0) return wrong;
        const found = await bench.region.guestSha256(id);
        return found === createHash('sha256').update(bytes).digest('hex')
          ? []
          : [`job ${id}: its image has other bytes than the one of the other region`];
      },
      tidy: async () => {
        await bench.deleteImage(await bench.imageOf(id));
        await otherRegion.call('DELETE', `/v2/images/${image}`);
      },
    };
  },
};
