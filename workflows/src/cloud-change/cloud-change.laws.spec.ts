import {
  CloudSagas,
  cloudSagaOf,
  convertDisk,
  describeSagaLaws,
  makeDebianLikeDisk,
  type SagaUnderTest,
  temporaryDirectory,
  TestCell,
} from '@ims/testing';

const KEY = 'source.qcow2';

describe('cloud-change (CRE-09, SCN-04)', () => {
  let cell: TestCell;
  let cloud: CloudSagas;
  let saga: SagaUnderTest;
  let raw: string;

  beforeAll(async () => {
    cell = await TestCell.start();
    raw = (await makeDebianLikeDisk(await temporaryDirectory())).path;
    await cell.putFile(await convertDisk(raw, 'qcow2-v3'), KEY);
    const made = await cell.submitImport({ key: KEY });
    await cell.settle(made.jobId);
    cloud = new CloudSagas(cell);
    saga = cloudSagaOf(
      cell,
      // Each job has a server of its own: of two tasks at one server the second would be refused.
      async (plan) => cloud.changeOs((await cell.aServer(raw)).id, made.imageId, { plan }),
      async ({ jobId, serverIds: [serverId = ''] }, outcome) => {
        await cell.checkJob(jobId, outcome);
        const server = await cell.cloud.servers.get(cell.projectId, serverId);
        // Whatever happened to the job, its server is there with one system disk, and idle.
        expect(server?.volumes.filter(({ bootIndex }) => bootIndex === 0)).toHaveLength(1);
        expect(server?.taskState).toBeNull();
        if (outcome === 'succeeded') expect(server).toMatchObject({ status: 'ACTIVE', imageId: made.imageId });
      },
    );
  });
  afterAll(() => cell.stop());

  describeSagaLaws(
    {
      name: 'cloud-change',
      steps: ['checkImages', 'changeCloud'],
      undos: [{ undo: 'dropImageHolds', failAt: 'changeCloud' }],
    },
    () => saga,
  );

  it('stops, starts and deletes servers, each again without an effect', async () => {
    const { id } = await cell.aServer(raw);
    const after = async (kind: 'start-servers' | 'stop-servers' | 'delete-servers') => {
      const job = await cloud.changeServers(kind, [id]);
      expect(await cell.settle(job.jobId)).toBe('succeeded');
      await cell.checkJob(job.jobId, 'succeeded');
      return (await cell.cloud.servers.get(cell.projectId, id))?.status;
    };
    expect(await after('stop-servers')).toBe('SHUTOFF');
    expect(await after('stop-servers')).toBe('SHUTOFF');
    expect(await after('start-servers')).toBe('ACTIVE');
    expect(await after('delete-servers')).toBeUndefined();
  });
});
