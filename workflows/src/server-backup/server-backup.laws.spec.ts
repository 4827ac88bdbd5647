import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LostCharges } from '@ims/activities';
import { diskBackupWorkflowId } from '@ims/contract';
import { systemClock } from '@ims/db';
import {
  describeSagaLaws,
  failBefore,
  type Fault,
  noise,
  type SagaUnderTest,
  serverBackupSagaOf,
  submitServerBackup,
  temporaryDirectory,
  TestCell,
} from '@ims/testing';

const MIB = 2 ** 20;
// backends E5: a data disk has 10 GiB at least.
const GIB = 2 ** 30;

describe('server-backup and disk-backup, its children (CRE-16, CRE-17)', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;
  let raw: string;
  let data: string;

  beforeAll(async () => {
    cell = await TestCell.start();
    const directory = await temporaryDirectory();
    raw = join(directory, 'system.raw');
    data = join(directory, 'data.raw');
    await writeFile(raw, noise('system', 4 * MIB));
    await writeFile(data, noise('data', 6 * MIB));
    saga = serverBackupSagaOf(cell, raw, [data]);
  });
  afterAll(() => cell.stop());

  describeSagaLaws(
    {
      name: 'server-backup',
      steps: ['quiesceServer', 'copyDisk', 'joinDisks', 'sealCheckpoint', 'releaseMoment'],
      undos: [
        { undo: 'unsealCheckpoint', failAt: 'releaseMoment' },
        { undo: 'dropDisks', failAt: 'joinDisks' },
        { undo: 'dropMoment', failAt: 'copyDisk' },
        { undo: 'concludeJob', failAt: 'quiesceServer' },
      ],
    },
    () => saga,
  );

  const aServer = async () => {
    const { id: serverId, volumes } = await cell.aServer(raw, 'ACTIVE', [data]);
    const { id: vaultId } = await cell.aVault();
    return { serverId, vaultId, volumes };
  };
  const outputOf = async (jobId: string, step: string) =>
    (
      await cell.db
        .selectFrom('job_step')
        .select('output')
        .where('job_id', '=', jobId)
        .where('step', '=', step)
        .executeTakeFirst()
    )?.output;
  const usedBytes = async (vaultId: string) => (await cell.cloud.backups.getVault(cell.projectId, vaultId))?.usedBytes;

  it('moves of each disk only what has changed since the backup before, and says so in its events (IMG-12)', async () => {
    const { volumes, ...request } = await aServer();
    const first = await submitServerBackup(cell, request);
    expect(await cell.settle(first.jobId)).toBe('succeeded');
    expect(await outputOf(first.jobId, 'disks')).toMatchObject({ bytesStored: 10 * MIB, bytesRead: 10 * MIB });
    const volumeId = volumes.find(({ bootIndex }) => bootIndex === 0)?.volumeId ?? '';
    const { disk, release } = await cell.cloud.volumes.exportDisk(cell.projectId, volumeId, { readOnly: false });
    await disk.write(2 * MIB, Buffer.from('changed')).finally(release);
    const second = await submitServerBackup(cell, request);
    expect(await cell.settle(second.jobId)).toBe('succeeded');
    const [changed, same] = await Promise.all(['disk-0', 'disk-1'].map((step) => outputOf(second.jobId, step)));
    expect(changed).toMatchObject({
      volumeId,
      isIncremental: true,
      segmentsChanged: 1,
      bytesRead: 2 * MIB,
      bytesStored: 2 * MIB,
    });
    expect(same).toMatchObject({ isIncremental: true, segmentsChanged: 0, bytesRead: 0, bytesStored: 0 });
    expect(await outputOf(second.jobId, 'seal')).toMatchObject({ bytesStored: 2 * MIB, bytesRead: 2 * MIB });
    expect(await usedBytes(request.vaultId)).toBe(12 * MIB);
    await cell.checkSystem();
  });

  it('ends with the documented code when the server is being backed up already (CRE-17), and leaves that backup alone', async () => {
    const { serverId, vaultId } = await aServer();
    const { projectId, cloud } = cell;
    await cloud.servers.beginTask({ projectId, serverId, task: 'backing-up', holder: 'another' });
    const { jobId } = await submitServerBackup(cell, { serverId, vaultId });
    expect(await cell.settle(jobId)).toBe('failed');
    const job = await cell.db.selectFrom('job').select('error_code').where('id', '=', jobId).executeTakeFirst();
    expect(job?.error_code).toBe('IMG.0136');
    expect((await cloud.servers.get(projectId, serverId))?.taskState).toBe('backing-up');
    await cloud.servers.endTask({ projectId, serverId, holder: 'another' });
  });

  it('drops all disks when one does not fit into the vault, and the vault is as it was (IMG.0182)', async () => {
    const { projectId, cloud } = cell;
    const { id: serverId, volumes } = await cell.aServer(raw, 'ACTIVE', [data]);
    const { id: vaultId } = await cloud.backups.createVault({
      id: `small-${serverId}`,
      projectId,
      name: 'small',
      objectType: 'server',
      protectType: 'backup',
      sizeGib: 1,
    });
    const volumeId = volumes.find(({ bootIndex }) => bootIndex === null)?.volumeId ?? '';
    const { disk, release } = await cloud.volumes.exportDisk(projectId, volumeId, { readOnly: false });
    // Every touched block is kept whole: these are more than a gibibyte, and take none to write.
    for (let at = 0; at <= GIB; at += 2 * MIB) await disk.write(at, Buffer.from('x'));
    await disk.flush();
    await release();
    const { jobId } = await submitServerBackup(cell, { serverId, vaultId });
    expect(await cell.settle(jobId)).toBe('failed');
    const job = await cell.db.selectFrom('job').select('error_code').where('id', '=', jobId).executeTakeFirst();
    expect(job?.error_code).toBe('IMG.0182');
    expect(await usedBytes(vaultId)).toBe(0);
    await saga.cleanSystem();
  });

  const chargesOf = (backupId: string) =>
    cell.db
      .selectFrom('usage_record')
      .select(['closed_at', 'voided_at'])
      .where('backup_id', '=', backupId)
      .executeTakeFirstOrThrow();
  const lostCharges = () => new LostCharges(cell.db, cell.cloud.backups, systemClock);

  it('is not charged on when whoever deleted the backup died before the charge was ended (BIL-03)', async () => {
    const { serverId, vaultId } = await aServer();
    const { jobId, checkpointId } = await submitServerBackup(cell, { serverId, vaultId });
    expect(await cell.settle(jobId)).toBe('succeeded');
    const [backup] = await cell.cloud.backups.list(cell.projectId, { checkpointId });
    const backupId = backup?.id ?? '';
    const passes = lostCharges();
    expect(await passes.pass()).toEqual([]);
    await cell.cloud.backups.delete(cell.projectId, backupId);
    const ended = await Promise.all([passes.pass(), lostCharges().pass()]);
    expect(ended.flat()).toEqual([`backup-storage:${backupId}`]);
    expect(await chargesOf(backupId)).toEqual({ closed_at: expect.any(Date) as unknown, voided_at: null });
    await cell.checkSystem();
  });

  it('was never charged when it was taken back, also when its backup is gone before that is on record (BIL-03)', async () => {
    const { serverId, vaultId } = await aServer();
    let [backupId, ended]: [string, string[] | undefined] = ['', undefined];
    const backupGoesFirst: Fault = async ({ real }) => {
      const [backup] = await cell.cloud.backups.list(cell.projectId, { serverId });
      backupId = backup?.id ?? '';
      await cell.cloud.backups.delete(cell.projectId, backupId);
      ended = await lostCharges().pass();
      return real();
    };
    const { jobId } = await submitServerBackup(cell, { serverId, vaultId }, (job) =>
      cell.faults.plan(job, { releaseMoment: failBefore, unsealCheckpoint: backupGoesFirst }),
    );
    expect(await cell.settle(jobId)).toBe('failed');
    expect(ended).toEqual([]);
    expect(await chargesOf(backupId)).toEqual({ closed_at: null, voided_at: expect.any(Date) as unknown });
  });

  describe('ended from outside', () => {
    /** Ends a workflow while one of the children copies, and lets that one go on no sooner than it hears of it. */
    const ending =
      (workflowOf: (jobId: string) => string): Fault =>
      async ({ real, call, jobId }) => {
        if (call === 1) await cell.temporal.client.workflow.getHandle(workflowOf(jobId)).terminate('by hand');
        return real();
      };
    const run = async (workflowOf: (jobId: string) => string) => {
      const { serverId, vaultId } = await aServer();
      const job = await submitServerBackup(cell, { serverId, vaultId }, (id) =>
        cell.faults.plan(id, { copyDisk: ending(workflowOf) }),
      );
      return { ...job, serverId };
    };
    const expectNothing = async (serverId: string): Promise<void> => {
      const { backups, servers } = cell.cloud;
      expect(await backups.list(cell.projectId, { serverId })).toEqual([]);
      expect((await servers.get(cell.projectId, serverId))?.taskState).toBeNull();
    };

    it('by its child, which ends the job, and nothing of the other disks remains', async () => {
      const { jobId, serverId } = await run((id) => diskBackupWorkflowId({ jobId: id, disk: 1, epoch: 1 }));
      expect(await cell.settle(jobId)).toBe('cancelled');
      await expectNothing(serverId);
      await cell.checkSystem();
    });

    it('by its parent: the children are asked to stop, and the job unwinds under a new epoch', async () => {
      const { jobId, serverId } = await run((id) => id);
      await cell.temporal.client.workflow
        .getHandle(jobId)
        .result()
        .catch(() => undefined);
      // The reconciler leaves young jobs alone.
      await cell.db
        .updateTable('job')
        .set({ begin_at: new Date(0) })
        .where('id', '=', jobId)
        .execute();
      expect(await cell.reconciler.pass()).toContain(jobId);
      expect(await cell.settle(jobId)).toBe('cancelled');
      await expectNothing(serverId);
    });
  });
});
