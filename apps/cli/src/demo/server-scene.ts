import { connect } from '@ims/db';
import picocolors from 'picocolors';
import { z } from 'zod';
import { CliError } from '../cli-error';
import { output } from '../output';
import { type DemoClient, resultOf } from './demo-client';
import { type DemoImage, imageOf, proveBytes } from './import-scene';
import { heading, mebibytes, step } from './show';
import { tellStory } from './story';

const shownServer = z.object({ server: z.looseObject({ id: z.string(), name: z.string(), status: z.string() }) });

const ingestNotes = z.looseObject({ bytesWritten: z.number().default(0) });

/** A server is made from the image without a byte being copied, and an image of that server without a byte being stored twice. */
export async function serveServer(client: DemoClient, image: DemoImage): Promise<string> {
  const { state } = client;
  heading('A server from the image');
  const began = performance.now();
  const job = await client.runJob(`/v1.1/${state.projectId}/cloudservers`, {
    server: {
      name: 'web-01',
      imageRef: image.id,
      flavorRef: 's6.large.2',
      vpcid: 'demo',
      nics: [{ subnet_id: 'demo' }],
      root_volume: { volumetype: 'SSD', size: 1 },
      data_volumes: [{ volumetype: 'SSD', size: 10 }],
    },
  });
  const { server_id: serverId } = resultOf(client, job);
  if (serverId === undefined)
    throw new CliError(`job ${job.job_id} names no server`, 'This is a defect: please report it.');
  const answer = await client.call('GET', `/v1/${state.projectId}/cloudservers/${serverId}`);
  const { server } = shownServer.parse(await answer.json());
  step('SUCCESS', `server ${server.id}, ${server.name}, ${server.status}`, performance.now() - began);
  output.data('  Its disk reads from the image; nothing was copied.');
  await tellStory(client, job.job_id);

  heading('An image of that server');
  const imaged = performance.now();
  const made = await client.runJob('/v2/cloudimages/action', { name: 'of-web-01', instance_id: serverId });
  const id = imageOf(client, made);
  step('SUCCESS', `image ${id}`, performance.now() - imaged);
  await tellStory(client, made.job_id);
  const { written, stored } = await bytesOf(state.databaseUrl, made.job_id, id);
  output.data(
    `  The image takes ${mebibytes(stored)}, of which its making wrote ${picocolors.bold(mebibytes(written))}: the rest was stored already.`,
  );
  await proveBytes(client, id, image.rawSha256);
  return serverId;
}

/** What the disk of an image takes, and how much of it a job has written: nothing of what was there before. */
async function bytesOf(
  databaseUrl: string,
  jobId: string,
  imageId: string,
): Promise<{ written: number; stored: number }> {
  const db = connect(databaseUrl, { poolSize: 1 });
  try {
    const image = await db.selectFrom('image').select('stored_bytes').where('id', '=', imageId).executeTakeFirst();
    const attempts = await db
      .selectFrom('step_attempt')
      .select('detail')
      .where('job_id', '=', jobId)
      .where('step', '=', 'ingest')
      .execute();
    const written = attempts.map(({ detail }) => ingestNotes.parse(detail).bytesWritten);
    return { written: written.reduce((sum, bytes) => sum + bytes, 0), stored: image?.stored_bytes ?? 0 };
  } finally {
    await db.destroy();
  }
}
