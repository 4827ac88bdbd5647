import { randomUUID } from 'node:crypto';
import picocolors from 'picocolors';
import { z } from 'zod';
import { CliError } from '../cli-error';
import { output } from '../output';
import { type DemoClient, resultOf } from './demo-client';
import { imageOf } from './import-scene';
import { heading, mebibytes, step } from './show';
import { tellStory } from './story';

const madeVault = z.object({ vault: z.object({ id: z.string() }) });
const shownServer = z.object({
  server: z.looseObject({ id: z.string(), 'os-extended-volumes:volumes_attached': z.array(z.unknown()) }),
});
const trailOfDisks = z.object({
  events: z.array(z.object({ type: z.string(), data: z.looseObject({ output: z.unknown().optional() }) })),
});

/** A whole server, its data disk too, becomes an image by way of a backup, twice; and a server again. */
export async function backUpAndRestore(client: DemoClient, serverId: string): Promise<void> {
  const { projectId } = client.state;
  heading('The whole server becomes an image: a backup of all disks at one moment');
  const vault = await client.call('POST', `/v3/${projectId}/vaults`, {
    vault: { name: 'demo', billing: { object_type: 'server', protect_type: 'backup', size: 100 } },
  });
  const vaultId = madeVault.parse(await vault.json()).vault.id;
  const first = await wholeImage(client, serverId, vaultId, 'web-01-whole');

  heading('Once more: only what has changed since is read and stored');
  await wholeImage(client, serverId, vaultId, 'web-01-whole-2');

  heading('And back: a new server from the image, with all disks');
  const began = performance.now();
  const job = await client.runJob(`/v1.1/${projectId}/cloudservers`, {
    server: { name: `restored-${randomUUID().slice(0, 4)}`, imageRef: first, flavorRef: 's6.large.2' },
  });
  const { server_id: restored } = resultOf(client, job);
  if (restored === undefined) throw new CliError('the job names no server', 'This is a defect: please report it.');
  const answer = await client.call('GET', `/v1/${projectId}/cloudservers/${restored}`);
  const { server } = shownServer.parse(await answer.json());
  const disks = server['os-extended-volumes:volumes_attached'].length;
  step('SUCCESS', `server ${restored} with ${disks} disks`, performance.now() - began);
  await tellStory(client, job.job_id);
}

async function wholeImage(client: DemoClient, serverId: string, vaultId: string, name: string): Promise<string> {
  const began = performance.now();
  const job = await client.runJob('/v1/cloudimages/wholeimages/action', {
    name,
    instance_id: serverId,
    vault_id: vaultId,
  });
  const id = imageOf(client, job);
  step('SUCCESS', `image ${id}`, performance.now() - began);
  await tellStory(client, job.job_id);
  const trail = await client.call('GET', `/v1/${client.state.projectId}/events?job_id=${job.job_id}&limit=1000`);
  const { events } = trailOfDisks.parse(await trail.json());
  const took = bytesIn(events.map(({ data }) => data.output));
  output.data(
    `  Its backup read ${picocolors.bold(mebibytes(took.read))} of the server's disks and stored ${picocolors.bold(mebibytes(took.stored))}.`,
  );
  return id;
}

// The step that seals a backup says what each of its disks took.
const sealed = z.object({ disks: z.array(z.object({ bytesRead: z.number(), bytesStored: z.number() })) });

function bytesIn(outputs: readonly unknown[]): { read: number; stored: number } {
  for (const each of outputs) {
    const found = sealed.safeParse(each);
    if (!found.success) continue;
    const { disks } = found.data;
    return {
      read: disks.reduce((sum, disk) => sum + disk.bytesRead, 0),
      stored: disks.reduce((sum, disk) => sum + disk.bytesStored, 0),
    };
  }
  throw new CliError('no event says what the backup took', 'This is a defect: please report it.');
}
