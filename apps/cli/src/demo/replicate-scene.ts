import { usageList } from '@ims/contract';
import picocolors from 'picocolors';
import { output } from '../output';
import type { DemoClient } from './demo-client';
import { type DemoImage, imageOf, proveBytes } from './import-scene';
import { heading, mebibytes, step } from './show';
import { tellStory } from './story';

/** An image goes to another region, which is a service of its own, and is the same there byte for byte. */
export async function replicate(here: DemoClient, there: DemoClient, image: DemoImage): Promise<void> {
  const target = there.state.region;
  heading(`A copy in ${target}, which has its own Postgres, Temporal and store`);
  const began = performance.now();
  const job = await here.runJob(`/v1/cloudimages/${image.id}/cross_region_copy`, {
    name: 'debian-demo-copy',
    description: 'made by the demo',
    region: target,
    project_name: target,
    agency_name: 'ims_copy_agency',
  });
  const id = imageOf(here, job);
  step('SUCCESS', `image ${id} of ${target}`, performance.now() - began);
  await tellStory(here, job.job_id);
  await proveBytes(there, id, image.rawSha256);
  const answer = await here.call('GET', `/v1/${here.state.projectId}/usage?image_id=${id}`);
  for (const line of usageList.parse(await answer.json()).usage) {
    output.data(`  ${picocolors.bold(mebibytes(line.size_bytes))} went over the wire. ${line.explanation}`);
  }
}
