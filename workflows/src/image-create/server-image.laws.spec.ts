import {
  describeSagaLaws,
  type Fault,
  makeDebianLikeDisk,
  type SagaUnderTest,
  serverImageSagaOf,
  temporaryDirectory,
  TestCell,
} from '@ims/testing';

describe('image-create from a server (CRE-01, CRE-03)', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;
  let raw: string;

  beforeAll(async () => {
    cell = await TestCell.start();
    raw = (await makeDebianLikeDisk(await temporaryDirectory())).path;
    saga = serverImageSagaOf(cell, (await cell.aServer(raw)).id);
  });
  afterAll(() => cell.stop());

  describeSagaLaws(
    {
      name: 'image-create',
      steps: ['snapshotDisk', 'ingestDisk', 'verifyDisk', 'releaseSnapshot', 'identifyOs', 'publishImage', 'openUsage'],
      // The others are the same as for a file, and stand in its laws.
      only: ['snapshotDisk', 'releaseSnapshot'],
      undos: [{ undo: 'dropSnapshot', failAt: 'ingestDisk' }],
    },
    () => saga,
  );

  it('is refused with its code when the server became busy after the call was accepted (CRE-03)', async () => {
    const server = await cell.aServer(raw);
    const { projectId, id: serverId } = server;
    const becomesBusy: Fault = async ({ real }) => {
      await cell.cloud.servers.beginTask({ projectId, serverId, task: 'resizing', holder: 'another' });
      return real();
    };
    const job = await cell.submitServerImage(serverId, {
      before: (id) => cell.faults.plan(id, { snapshotDisk: becomesBusy }),
    });
    expect(await cell.settle(job.jobId)).toBe('failed');
    const row = await cell.db.selectFrom('job').select('error_code').where('id', '=', job.jobId).executeTakeFirst();
    expect(row?.error_code).toBe('IMG.0010');
    await cell.checkJob(job.jobId, 'failed');
    expect(await cell.snapshots()).toEqual([]);
  });
});
