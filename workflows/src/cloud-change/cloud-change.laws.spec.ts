import { cloudChangeInput } from '@ims/contract';
import {
  CloudSagas,
  cloudSagaOf,
  describeSagaLaws,
  type Fault,
  makeDebianLikeDisk,
  type SagaUnderTest,
  temporaryDirectory,
  TestCell,
} from '@ims/testing';

describe('cloud-change (CRE-09, SCN-04)', () => {
  let cell: TestCell;
  let cloud: CloudSagas;
  let saga: SagaUnderTest;
  let raw: string;
  let imageId: string;

  beforeAll(async () => {
    cell = await TestCell.start();
    raw = (await makeDebianLikeDisk(await temporaryDirectory())).path;
    imageId = await cell.anImage(raw);
    cloud = new CloudSagas(cell);
    saga = cloudSagaOf(
      cell,
      // Each job has a server of its own: of two tasks at one server the second would be refused.
      async (plan) => cloud.changeOs((await cell.aServer(raw)).id, imageId, { plan }),
      async ({ jobId, serverIds: [serverId = ''] }, outcome) => {
        await cell.checkJob(jobId, outcome);
        const server = await cell.cloud.servers.get(cell.projectId, serverId);
        // Whatever happened to the job, its server is there with one system disk, and idle.
        expect(server?.volumes.filter(({ bootIndex }) => bootIndex === 0)).toHaveLength(1);
        expect(server?.taskState).toBeNull();
        if (outcome === 'succeeded') expect(server).toMatchObject({ status: 'ACTIVE', imageId });
      },
    );
  });
  afterAll(() => cell.stop());

  describeSagaLaws(
    {
      name: 'cloud-change',
      steps: ['checkImages', 'changeCloud'],
      undos: [{ undo: 'dropImageHolds', failAt: 'changeCloud' }],
      // Nobody can call it back, so nobody can stop it half-way either.
      isPausable: false,
    },
    () => saga,
  );

  it('leaves no disk behind when its server goes before it gets a new one (CRE-09, I4)', async () => {
    const server = await cell.aServer(raw);
    // As after a death between the disk and its attachment, with which the server's task ended.
    const diskAlone: Fault = async ({ real, jobId }) => {
      const { input } = await cell.db
        .selectFrom('outbox')
        .select('input')
        .where('workflow_id', '=', jobId)
        .executeTakeFirstOrThrow();
      const { change } = cloudChangeInput.parse(input);
      if (change.kind !== 'change-os') throw new Error(`a job that does ${change.kind}`);
      const image = await cell.db
        .selectFrom('image')
        .select(['id', 'domain_id', 'manifest_hash'])
        .where('id', '=', change.guest.imageId)
        .executeTakeFirstOrThrow();
      const { id: imageId, domain_id: domainId, manifest_hash: manifestHash } = image;
      await cell.cloud.volumes.create({
        ...change.rootVolume,
        projectId: cell.projectId,
        availabilityZone: server.availabilityZone,
        origin: {
          from: 'image',
          image: { imageId, domainId: domainId ?? '', manifestHash: manifestHash ?? '' },
          role: 'system',
        },
      });
      await cell.cloud.servers.delete(cell.projectId, server.id);
      return real();
    };
    const before = await cell.cloud.volumes.list(cell.projectId);
    const job = await cloud.changeOs(server.id, imageId, { plan: { changeCloud: diskAlone } });
    expect(await cell.settle(job.jobId)).toBe('failed');
    const gone = server.volumes.map(({ volumeId }) => volumeId);
    const left = before.filter(({ id }) => !gone.includes(id));
    expect(await cell.cloud.volumes.list(cell.projectId)).toEqual(left);
    expect(await cloud.leftovers()).toEqual([]);
  });

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
