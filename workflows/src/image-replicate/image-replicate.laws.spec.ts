import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dedupDomainId, imageId as toImageId, usageStream } from '@ims/contract';
import { readStream } from '@ims/event-log';
import {
  describeSagaLaws,
  noise,
  receiveSagaOf,
  replicationSagaOf,
  type SagaUnderTest,
  submitDeletion,
  temporaryDirectory,
  TestRegions,
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
        { undo: 'concludeJob', failAt: 'holdReplicated' },
      ],
    },
    () => saga,
  );

  describeSagaLaws(
    {
      name: 'image-receive',
      steps: ['receiveDisks', 'verifyDisk', 'publishImage', 'openUsage'],
      // The others are those of every image, and under the laws of image-create.
      only: ['receiveDisks', 'openUsage'],
      undos: [
        { undo: 'discardReceived', failAt: 'verifyDisk' },
        { undo: 'withdrawImage', failAt: 'openUsage' },
        { undo: 'voidUsage', failAt: 'openUsage' },
        { undo: 'concludeJob', failAt: 'receiveDisks' },
      ],
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
    const refused = await there.db.selectFrom('refused_receive').select('job_id').execute();
    expect(refused).toContainEqual({ job_id: copy.receiveJobId });
    expect(await jobOf(there, copy.receiveJobId)).toBeUndefined();
  });

  it('fails with the code of the other region when that refuses (CRE-23), and leaves nothing anywhere', async () => {
    const { here, there } = regions;
    const copy = await regions.submitReplication(image, { request: { project_name: 'nowhere' } });
    expect(await here.settle(copy.jobId)).toBe('failed');
    expect(await jobOf(here, copy.jobId)).toMatchObject({ error_code: 'IMG.0145' });
    expect(await jobOf(there, copy.receiveJobId)).toBeUndefined();
    await here.checkSystem();
    await there.checkSystem();
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
