import { randomUUID } from 'node:crypto';
import { BACKUP_IMAGE_CREATE_STEPS, imageDeleteJobId, imageId } from '@ims/contract';
import { type FaultBench, outcomeOf, type Workload } from '../support/fault-bench';

const MIB = 2 ** 20;
const DATA_MIB = 32;

/** An image of a server's backup; it is deleted again within the trial, and the backup is free for the next one (CRE-18). */
export const imageCreateBackup: Workload = {
  name: 'image-create of a backup',
  steps: [...BACKUP_IMAGE_CREATE_STEPS],
  begin: async (bench, name) => {
    const { region, cloud } = bench;
    const { projectId } = region.stack.identity;
    const { source, serverId } = await bench.once('a server with backups', async () => {
      const disk = await region.putNoise('backed-up.raw', DATA_MIB);
      return { source: disk, serverId: (await bench.aServer(disk.key, (DATA_MIB + 1) * MIB)).id };
    });
    const vaultId = await bench.once('a vault', () => aVault(bench));
    // One image per backup, and several pieces of this work may be under way.
    const request = { id: randomUUID(), projectId, serverId, name, vaultId };
    const { backupId } = await cloud.backups.createCheckpoint(request);
    const body = { name, backup_id: backupId, whole_image_type: 'CBR' };
    const id = await bench.accepted('/v1/cloudimages/wholeimages/action', body);
    return {
      jobIds: [id],
      dataBytes: source.dataBytes,
      check: async () => {
        const wrong = await outcomeOf(bench, id, ['succeeded']);
        if (wrong.length > 0) return wrong;
        if ((await region.guestSha256(id, source.dataBytes + MIB)) !== source.sha256)
          wrong.push(`job ${id}: its image has other bytes than the backup`);
        const image = await bench.imageOf(id);
        await bench.deleteImage(image);
        await region.settle([imageDeleteJobId(imageId(image))]);
        const holder = (await cloud.backups.get(projectId, backupId))?.imageId;
        return holder === null ? wrong : [...wrong, `backup ${backupId}: is held by ${holder ?? 'nobody, and gone'}`];
      },
      tidy: () => cloud.backups.deleteCheckpoint(projectId, request.id),
    };
  },
};

async function aVault({ cloud, region }: FaultBench): Promise<string> {
  const { projectId } = region.stack.identity;
  const id = randomUUID();
  await cloud.backups.createVault({
    id,
    projectId,
    name: 'under-fault',
    objectType: 'server',
    protectType: 'backup',
    sizeGib: 100,
  });
  return id;
}
