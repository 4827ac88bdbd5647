import {
  CloudSagas,
  cloudSagaOf,
  describeSagaLaws,
  type Fault,
  makeDebianLikeDisk,
  type SagaUnderTest,
  submitDeletion,
  temporaryDirectory,
  TestCell,
} from '@ims/testing';

describe('server-create (IMG-09, SCN-03)', () => {
  let cell: TestCell;
  let cloud: CloudSagas;
  let saga: SagaUnderTest;
  let imageId: string;
  let raw: string;

  beforeAll(async () => {
    cell = await TestCell.start();
    raw = (await makeDebianLikeDisk(await temporaryDirectory())).path;
    imageId = await cell.anImage(raw);
    cloud = new CloudSagas(cell);
    saga = cloudSagaOf(
      cell,
      // Two, each with a data disk beside its system disk: all or none.
      (plan) => cloud.createServers(imageId, { plan, server: { count: 2, data_volumes: [{ size: 10 }] } }),
      (job, outcome) => cloud.check(job, outcome),
    );
  });
  afterAll(() => cell.stop());

  describeSagaLaws(
    {
      name: 'server-create',
      steps: ['checkImages', 'createVolumes', 'createServers', 'startServers', 'releaseImages'],
      undos: [
        { undo: 'dropImageHolds', failAt: 'createVolumes' },
        { undo: 'deleteVolumes', failAt: 'createServers' },
        { undo: 'deleteServers', failAt: 'startServers' },
        { undo: 'stopServers', failAt: 'releaseImages' },
        { undo: 'concludeJob', failAt: 'checkImages' },
      ],
    },
    () => saga,
  );

  it('says not-checked, with the reason, where servers are records (CRE-11)', async () => {
    const job = await cloud.createServers(imageId, { server: { metadata: { __boot_check: 'true' } } });
    expect(await cell.settle(job.jobId)).toBe('succeeded');
    await cloud.check(job, 'succeeded');
    const step = await cell.db
      .selectFrom('job_step')
      .select('output')
      .where('job_id', '=', job.jobId)
      .where('step', '=', 'boot-check')
      .executeTakeFirst();
    expect(step?.output).toEqual({
      verdict: 'not-checked',
      evidence: 'servers are records here: QEMU is switched off',
    });
  });

  it('holds the image while it runs: a deletion and a collection in the middle pull nothing away (MGT-05)', async () => {
    const other = await cell.anImage(raw);
    const deleteAndCollect: Fault = async ({ real, call }) => {
      if (call === 1) {
        const deletion = await submitDeletion(cell, { imageId: other });
        await cell.settle(deletion.jobId);
        await cell.store.collect();
      }
      return real();
    };
    const job = await cloud.createServers(other, { plan: { createVolumes: deleteAndCollect } });
    expect(await cell.settle(job.jobId)).toBe('succeeded');
    await cloud.check(job, 'succeeded');
  });

  it('leaves no disk content behind that nothing refers to', async () => {
    expect(await cloud.leftovers()).toEqual([]);
  });
});
