import { createHash, randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dedupDomainId, imageId as toImageId, type JobId, usageStream } from '@ims/contract';
import { readStream } from '@ims/event-log';
import { openDisk } from '@ims/image-format';
import {
  crashAfter,
  describeSagaLaws,
  failBefore,
  type FaultPlan,
  noise,
  receiveSagaOf,
  replicationSagaOf,
  type SagaUnderTest,
  submitDeletion,
  temporaryDirectory,
  TestRegions,
  twice,
  waitFor,
} from '@ims/testing';

const MIB = 2 ** 20;

describe('images go to other regions', () => {
  let regions: TestRegions;
  let saga: SagaUnderTest;
  let receiving: SagaUnderTest;
  let raw: string;
  let image: string;
  let other: string;

  beforeAll(async () => {
    regions = await TestRegions.start();
    raw = join(await temporaryDirectory(), 'system.raw');
    await writeFile(raw, Buffer.concat([noise('system', 5 * MIB), Buffer.alloc(3 * MIB)]));
    image = await regions.here.anImage(raw);
    other = await regions.here.anImage(raw);
    saga = replicationSagaOf(regions, image);
    receiving = receiveSagaOf(regions, other);
  });
  afterAll(() => regions.stop());

  const sha256Of = async (cell: TestRegions['here'], id: string): Promise<string> => {
    const row = await cell.db.selectFrom('image').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
    const file = await cell.store.open(
      { domainId: dedupDomainId(row.domain_id ?? ''), manifestHash: row.manifest_hash ?? '' },
      'raw',
    );
    const digest = createHash('sha256');
    for await (const chunk of file.read()) digest.update(chunk);
    return digest.digest('hex');
  };
  const jobOf = (cell: TestRegions['here'], id: string) =>
    cell.db.selectFrom('job').selectAll().where('id', '=', id).executeTakeFirst();

  describeSagaLaws(
    {
      name: 'image-replicate',
      steps: ['holdReplicated', 'requestReceive', 'awaitReceive', 'releaseReplicated'],
      undos: [
        { undo: 'dropReplicatedHolds', failAt: 'requestReceive' },
        { undo: 'cancelReceive', failAt: 'releaseReplicated' },
      ],
    },
    () => saga,
  );

  describeSagaLaws(
    {
      name: 'image-receive',
      steps: ['receiveDisks', 'verifyDisk', 'publishImage', 'openUsage'],
      // The others, and their undos, are those of every image, and under the laws of image-create.
      only: ['receiveDisks'],
      undos: [{ undo: 'discardReceived', failAt: 'openUsage' }],
    },
    () => receiving,
  );

  it('the replica is the same bytes under another id, and both regions tell of it (REP-03, BIL-10)', async () => {
    const { here, there } = regions;
    const copy = await regions.submitReplication(image);
    expect(await here.settle(copy.jobId)).toBe('succeeded');
    expect(await sha256Of(there, copy.imageId)).toBe(await sha256Of(here, image));
    const [mine, theirs] = [await jobOf(here, copy.jobId), await jobOf(there, copy.receiveJobId)];
    expect(mine).toMatchObject({ type: 'imsCrossRegionCopyImageJob', image_id: copy.imageId, status: 'SUCCESS' });
    expect(theirs).toMatchObject({ saga: 'image-receive', project_id: there.projectId, outcome: 'succeeded' });
    const replica = await there.db.selectFrom('image').selectAll().where('id', '=', copy.imageId).executeTakeFirst();
    const source = await here.db.selectFrom('image').selectAll().where('id', '=', image).executeTakeFirst();
    expect(replica).toMatchObject({ name: 'replica', status: 'active', content_root: source?.content_root });
    expect(replica?.attributes).toMatchObject({ __data_origin: `image,${here.region},${image}` });
    const [traffic] = await readStream(here.db, usageStream(toImageId(copy.imageId)));
    expect(traffic).toMatchObject({ type: 'usage.recorded', data: { meter: 'replication.traffic' } });
  });

  it('waits while the link is cut and goes on afterwards, both ways and one way (N1, N2)', async () => {
    const { here, there, toHere, toThere } = regions;
    for (const cut of ['both', 'there', 'back'] as const) {
      toThere.cut(cut);
      toHere.cut('both');
      const copy = await regions.submitReplication(image);
      await waitFor(async () => (await jobOf(here, copy.jobId))?.current_step === 'request-receive', {
        deadlineMs: 20_000,
        what: 'the request is on its way',
      });
      toThere.mend();
      // The one side is there again and the other one not: the request arrives, its answer or what it asks for does not.
      await waitFor(async () => (await jobOf(there, copy.receiveJobId)) !== undefined, {
        deadlineMs: 40_000,
        what: 'the other region has heard of it',
      });
      toHere.mend();
      expect(await here.settle(copy.jobId)).toBe('succeeded');
      await here.checkJob(copy.jobId, 'succeeded');
      await there.checkJob(copy.receiveJobId, 'succeeded');
    }
  });

  it.each(['link', 'call'] as const)(
    'of a copy that is cancelled when the image is there already nothing stays there (N4), by %s',
    async (by) => {
      const { here, there, toThere } = regions;
      const copy = await regions.submitReplication(image, {
        before: (id) =>
          here.faults.plan(id, {
            // From the other side's success on this one hears nothing.
            awaitReceive: async ({ real }) => {
              if ((await jobOf(there, regions.receiveJobOf(id)))?.outcome !== 'succeeded') return real();
              if (by === 'link') toThere.cut('both');
              await here.cancelInLog(id);
              return real();
            },
          }),
      });
      await waitFor(async () => (await jobOf(here, copy.jobId))?.cancel_reason !== null, {
        deadlineMs: 30_000,
        what: 'the copy is cancelled',
      });
      toThere.mend();
      expect(await here.settle(copy.jobId)).toBe('cancelled');
      expect(await jobOf(there, copy.receiveJobId)).toMatchObject({ outcome: 'succeeded' });
      const replica = await there.db.selectFrom('image').select('status').where('id', '=', copy.imageId).execute();
      expect(replica).toEqual([{ status: 'deleted' }]);
    },
  );

  it('a request that was called back before it arrived begins nothing when it does (N2)', async () => {
    const { here, there } = regions;
    const copy = await regions.submitReplication(image, {
      before: (id) =>
        here.faults.plan(id, {
          requestReceive: async ({ real, call }) => {
            if (call === 1) await here.cancelInLog(id);
            return real();
          },
        }),
    });
    expect(await here.settle(copy.jobId)).toBe('cancelled');
    const called = await there.db
      .selectFrom('receive_fence')
      .selectAll()
      .where('job_id', '=', copy.receiveJobId)
      .execute();
    expect(called).toMatchObject([{ called_back_at: expect.any(Date) }]);
    expect(await jobOf(there, copy.receiveJobId)).toBeUndefined();
  });

  describe('a worker that stands still before it calls back, while a second execution of the job goes on (P3, I12)', () => {
    /** The first execution is lost when it has only to let go; the second one takes over from its recorded steps. */
    const takenOver = async (meanwhile: (id: JobId) => Promise<unknown> = () => Promise.resolve()) => {
      const { here } = regions;
      const { temporal, db } = here;
      return regions.submitReplication(image, {
        before: (id) =>
          here.faults.plan(id, {
            releaseReplicated: async ({ real, call }) => {
              if (call > 1) return real();
              const { namespace } = temporal.client.options;
              await temporal.client.workflowService.deleteWorkflowExecution({
                namespace,
                workflowExecution: { workflowId: id },
              });
              const isGone = () =>
                temporal.client.workflow
                  .getHandle(id)
                  .describe()
                  .then(
                    () => undefined,
                    () => true,
                  );
              await waitFor(isGone, { deadlineMs: 30_000, what: 'the engine has lost the job' });
              await meanwhile(id);
              // The reconciler leaves young jobs alone.
              const job = db.updateTable('job').where('id', '=', id);
              const begun = (await jobOf(here, id))?.begin_at ?? new Date(0);
              await job.set({ begin_at: new Date(0) }).execute();
              await here.reconciler.pass();
              await job.set({ begin_at: begun }).execute();
              return real();
            },
          }),
      });
    };
    const late = (id: JobId) => regions.thereAsSeenFromHere.cancel({ jobId: id, epoch: 1 });
    const statusOf = async (id: string) =>
      (await regions.there.db.selectFrom('image').select('status').where('id', '=', id).executeTakeFirst())?.status;

    it('takes no replica away from a job that has succeeded', async () => {
      const copy = await takenOver();
      expect(await regions.here.settle(copy.jobId)).toBe('succeeded');
      await expect(late(copy.jobId)).rejects.toMatchObject({ code: 'IMG.0105', status: 409 });
      expect(await statusOf(copy.imageId)).toBe('active');
    });

    it('or its job fails, when it was in time', async () => {
      const copy = await takenOver(late);
      expect(await regions.here.settle(copy.jobId)).toBe('failed');
      expect(await statusOf(copy.imageId)).toBe('deleted');
    });
  });

  it('fails with the code of the other region when that refuses (CRE-23), and leaves nothing anywhere', async () => {
    const { here, there } = regions;
    const copy = await regions.submitReplication(image, { request: { project_name: 'nowhere' } });
    expect(await here.settle(copy.jobId)).toBe('failed');
    expect(await jobOf(here, copy.jobId)).toMatchObject({ error_code: 'IMG.0145' });
    expect(await jobOf(there, copy.receiveJobId)).toBeUndefined();
  });

  describe('an image of a whole server takes its backup along (REP-11, BIL-11)', () => {
    let whole: string;
    let backupId: string;
    let vaultId: string;

    beforeAll(async () => {
      const { here, there } = regions;
      const data = join(await temporaryDirectory(), 'data.raw');
      await writeFile(data, noise('data', 3 * MIB));
      const server = await here.aServer(raw, 'SHUTOFF', [data]);
      const backup = await here.aBackup(server.id);
      backupId = backup.id;
      const made = await here.submitBackupImage(backup.id);
      expect(await here.settle(made.jobId)).toBe('succeeded');
      whole = made.imageId;
      const request = { name: 'replicas', objectType: 'server', protectType: 'replication', sizeGib: 100 } as const;
      const vault = await there.cloud.backups.createVault({ ...request, id: randomUUID(), projectId: there.projectId });
      vaultId = vault.id;
    });

    const copyWhole = async (plan: FaultPlan = {}, request: { vault_id?: string } = { vault_id: vaultId }) => {
      const copy = await regions.submitReplication(whole, {
        request,
        before: (id) => regions.there.faults.plan(regions.receiveJobOf(id), plan),
      });
      return { ...copy, outcome: await regions.here.settle(copy.jobId) };
    };
    const replicas = () => regions.there.cloud.backups.list(regions.there.projectId);

    it.each(['recordBackup', 'openUsage'])('leaves none of it when %s fails', async (step) => {
      const { outcome } = await copyWhole({ [step]: failBefore, dropReplicaBackup: twice });
      expect(outcome).toBe('failed');
      expect(await replicas()).toEqual([]);
    });

    it.each([
      ['IMG.0189', 'no vault', () => ({ vault_id: randomUUID() })],
      ['IMG.0189', 'a vault for backups of servers', async () => ({ vault_id: (await regions.there.aVault()).id })],
    ])('is refused with %s by %s of the target', async (code, _, request) => {
      const { jobId: id, outcome } = await copyWhole({}, await request());
      expect(outcome).toBe('failed');
      expect(await jobOf(regions.here, id)).toMatchObject({ error_code: code });
    });

    it('and is all its disks there, with a replica that is bound to it and can be read', async () => {
      const { here, there } = regions;
      const copy = await copyWhole({ recordBackup: crashAfter });
      expect(copy.outcome).toBe('succeeded');
      const parts = await there.db.selectFrom('image_part').selectAll().where('image_id', '=', copy.imageId).execute();
      expect(parts).toHaveLength(1);
      const [replica, ...more] = await replicas();
      expect(more).toEqual([]);
      expect(replica).toMatchObject({ id: backupId, imageId: copy.imageId, vaultId, status: 'available' });
      expect(replica?.children).toHaveLength(2);
      for (const child of replica?.children ?? []) {
        const original = (await here.cloud.backups.get(here.projectId, backupId))?.children.find(
          ({ id }) => id === child.id,
        );
        expect(await sha256OfBackup(there, child.id)).toBe(await sha256OfBackup(here, original?.id ?? ''));
      }
      const [traffic] = await readStream(here.db, usageStream(toImageId(copy.imageId)));
      expect(traffic).toMatchObject({ data: { meter: 'backup-replication.traffic' } });
      const usage = await there.db.selectFrom('usage_record').selectAll().where('backup_id', '=', backupId).execute();
      expect(usage).toMatchObject([{ meter: 'backup.storage', voided_at: null }]);
      await there.checkSystem();
      // The same backup a second time (ims-api 7.2).
      const again = await copyWhole();
      expect(await jobOf(here, again.jobId)).toMatchObject({ outcome: 'failed', error_code: 'IMG.0150' });
      // It stays in its vault when the image goes, and is paid for (BIL-11).
      const deletion = await submitDeletion(there, { imageId: copy.imageId, backupId });
      expect(await there.settle(deletion.jobId)).toBe('succeeded');
      expect(await replicas()).toMatchObject([{ id: backupId, imageId: null }]);
      await there.checkSystem();
    });

    const sha256OfBackup = async ({ cloud, projectId }: TestRegions['here'], id: string): Promise<string> => {
      const { disk, release } = await cloud.backups.openForImaging(projectId, id);
      const reader = await openDisk(disk);
      const digest = createHash('sha256');
      const piece = Buffer.alloc(4 * MIB);
      // What lies behind is holes.
      for (let at = 0; at < 16 * MIB; at += piece.length) {
        await reader.read(at, piece);
        digest.update(piece);
      }
      await reader.close();
      await release();
      return digest.digest('hex');
    };
  });

  it('keeps the bytes of an image that is deleted while it is being sent (C6)', async () => {
    const { here, there } = regions;
    const mine = await here.anImage(raw);
    const copy = await regions.submitReplication(mine, {
      before: (id) =>
        here.faults.plan(id, {
          awaitReceive: async ({ real, call }) => {
            if (call === 1) {
              await submitDeletion(here, { imageId: mine });
              await here.store.collect();
            }
            return real();
          },
        }),
    });
    expect(await here.settle(copy.jobId)).toBe('succeeded');
    await there.checkJob(copy.receiveJobId, 'succeeded');
    await here.checkSystem();
    await there.checkSystem();
  });
});
