import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  describeSagaLaws,
  noise,
  type SagaUnderTest,
  serverBackupSagaOf,
  submitServerBackup,
  temporaryDirectory,
  TestCell,
} from '@ims/testing';

const MIB = 2 ** 20;

describe('server-backup (CRE-16, CRE-17)', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;
  let raw: string;

  beforeAll(async () => {
    cell = await TestCell.start();
    raw = join(await temporaryDirectory(), 'system.raw');
    await writeFile(raw, noise('system', 4 * MIB));
    saga = serverBackupSagaOf(cell, raw);
  });
  afterAll(() => cell.stop());

  describeSagaLaws(
    {
      name: 'server-backup',
      steps: ['makeCheckpoint'],
      undos: [
        { undo: 'dropCheckpoint', failAt: 'makeCheckpoint' },
        { undo: 'concludeJob', failAt: 'makeCheckpoint' },
      ],
    },
    () => saga,
  );

  const outputOf = async (jobId: string) =>
    (
      await cell.db
        .selectFrom('job_step')
        .select('output')
        .where('job_id', '=', jobId)
        .where('step', '=', 'checkpoint')
        .executeTakeFirst()
    )?.output;

  it('moves only what has changed since the backup before, and says so in its event (IMG-12)', async () => {
    const { id: serverId, volumes } = await cell.aServer(raw);
    const vault = await cell.aVault();
    const first = await submitServerBackup(cell, { serverId, vaultId: vault.id });
    expect(await cell.settle(first.jobId)).toBe('succeeded');
    expect(await outputOf(first.jobId)).toMatchObject({ bytesStored: 4 * MIB, bytesRead: 4 * MIB });
    const { volumeId = '' } = volumes[0] ?? {};
    const { disk, release } = await cell.cloud.volumes.exportDisk(cell.projectId, volumeId, { readOnly: false });
    await disk.write(2 * MIB, Buffer.from('changed')).finally(release);
    const second = await submitServerBackup(cell, { serverId, vaultId: vault.id });
    expect(await cell.settle(second.jobId)).toBe('succeeded');
    expect(await outputOf(second.jobId)).toMatchObject({ bytesStored: 2 * MIB, bytesRead: 2 * MIB });
    await cell.checkSystem();
  });

  it('ends with the documented code when the server is being backed up already (CRE-17), and leaves that backup alone', async () => {
    const { id: serverId } = await cell.aServer(raw);
    const vault = await cell.aVault();
    const { projectId, cloud } = cell;
    await cloud.servers.beginTask({ projectId, serverId, task: 'backing-up', holder: 'another' });
    const { jobId } = await submitServerBackup(cell, { serverId, vaultId: vault.id });
    expect(await cell.settle(jobId)).toBe('failed');
    const job = await cell.db.selectFrom('job').select('error_code').where('id', '=', jobId).executeTakeFirst();
    expect(job?.error_code).toBe('IMG.0136');
    expect((await cloud.servers.get(projectId, serverId))?.taskState).toBe('backing-up');
    await cloud.servers.endTask({ projectId, serverId, holder: 'another' });
  });
});
