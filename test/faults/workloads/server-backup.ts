import { SERVER_BACKUP_STEPS } from '@ims/contract';
import { createHash } from 'node:crypto';
import { openDisk } from '@ims/image-format';
import { type FaultBench, outcomeOf, type Workload } from '../support/fault-bench';

const MIB = 2 ** 20;
const DATA_MIB = 64;

interface Answer {
  checkpoint: { id: string };
}

/** The children of such a backup: a server with two disks, which are copied side by side. */
export const diskBackup: Workload = {
  name: 'disk-backup',
  steps: ['disk-0', 'disk-1'],
  begin: (bench, name) => begin(bench, name, { withData: true }),
};

/** The backup of a server: whole or not there, and the server free again either way. */
export const serverBackup: Workload = {
  name: 'server-backup',
  steps: [...SERVER_BACKUP_STEPS],
  begin: (bench, name) => begin(bench, name, { withData: false }),
};

async function begin(
  bench: FaultBench,
  name: string,
  { withData }: { withData: boolean },
): ReturnType<Workload['begin']> {
  const { region, cloud } = bench;
  const { projectId } = region.stack.identity;
  const key = `${name}.raw`;
  const source = await region.putNoise(key, DATA_MIB);
  const server = await bench.aServer(key, (DATA_MIB + 1) * MIB, { withData });
  const { status, json, text } = await region.stack.call('POST', `/v3/${projectId}/checkpoints`, {
    checkpoint: { vault_id: await vaultOf(bench), parameters: { name, resources: [server.id] } },
  });
  if (status !== 200) throw new Error(`POST of a checkpoint: ${status} ${text}`);
  const { id: checkpointId } = (json as Answer).checkpoint;
  const id = checkpointId.replaceAll('-', '');
  return {
    jobIds: [id],
    check: async () => {
      const wrong = await outcomeOf(bench, id, ['succeeded']);
      const [backup, ...more] = await cloud.backups.list(projectId, { checkpointId });
      if (backup?.status !== 'available' || more.length > 0) wrong.push(`job ${id}: its backup is not there once`);
      const { taskState } = (await cloud.servers.get(projectId, server.id)) ?? {};
      if (taskState !== null) wrong.push(`job ${id}: its server is ${taskState}`);
      const children = backup?.children ?? [];
      if (children.length !== server.volumes.length) wrong.push(`job ${id}: ${children.length} disks are backed up`);
      for (const { id: child, device } of children) {
        if ((await sha256Of(bench, child, source.dataBytes + MIB)) !== source.sha256)
          wrong.push(`job ${id}: its backup of ${device} has other bytes than the disk`);
      }
      return wrong;
    },
    tidy: async () => {
      // By its owner's call, which ends the charge too.
      for (const { id: backupId } of await cloud.backups.list(projectId, { checkpointId })) {
        const answer = await region.stack.call('DELETE', `/v3/${projectId}/backups/${backupId}`);
        if (answer.status !== 204) throw new Error(`DELETE of backup ${backupId}: ${answer.status} ${answer.text}`);
      }
      await cloud.servers.delete(projectId, server.id);
      await bench.removeFile(key);
    },
  };
}

/** A vault that all trials share. */
const vaultOf = (bench: FaultBench): Promise<string> =>
  bench.once('a vault of many servers', async () => {
    const { projectId } = bench.region.stack.identity;
    const { id } = await bench.cloud.backups.createVault({
      id: '6e0c9a86-6f5e-4c6f-9a55-2b1f6c1d9e10',
      projectId,
      name: 'under-fault',
      objectType: 'server',
      protectType: 'backup',
      sizeGib: 10_000,
      memberLimit: 100_000,
    });
    return id;
  });

async function sha256Of({ cloud, region }: FaultBench, diskBackupId: string, bytes: number): Promise<string> {
  const { disk, release } = await cloud.backups.openForImaging(region.stack.identity.projectId, diskBackupId);
  const reader = await openDisk(disk);
  try {
    const hash = createHash('sha256');
    for (let at = 0; at < bytes; at += MIB) {
      const piece = Buffer.alloc(Math.min(MIB, bytes - at));
      await reader.read(at, piece);
      hash.update(piece);
    }
    return hash.digest('hex');
  } finally {
    await reader.close();
    await release();
  }
}
