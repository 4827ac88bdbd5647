import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CreateImageRequest, dedupDomainId, type JobId, jobSnapshotId } from '@ims/contract';
import { ImagesRepository } from '@ims/db';
import {
  batchSagaOf,
  convertDisk,
  describeSagaLaws,
  type Fault,
  type FaultPlan,
  makeDebianLikeDisk,
  noise,
  type SagaUnderTest,
  temporaryDirectory,
  TestCell,
  waitFor,
} from '@ims/testing';

// The steps waited for take milliseconds; the rest is room for a busy machine.
const DEADLINE_MS = 60_000;
// The reconciler leaves jobs alone that are younger than five seconds.
const RECONCILE_DEADLINE_MS = 30_000;

describe('image-batch (CRE-06, ims-api 6.2 B and C)', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;
  let system: string;
  let data: string;

  beforeAll(async () => {
    cell = await TestCell.start();
    const directory = await temporaryDirectory();
    system = (await makeDebianLikeDisk(directory)).path;
    data = join(directory, 'data.raw');
    await writeFile(data, noise('data disk', 3 * 2 ** 20));
    await cell.putFile(await convertDisk(system, 'qcow2-v3'), 'system.qcow2');
    await cell.putFile(data, 'data.raw');
    await cell.putFile(data, 'small.raw');
    saga = batchSagaOf(cell, { ...FILES, image_url: 'images:small.raw' });
  });
  afterAll(() => cell.stop());

  const FILES: CreateImageRequest = {
    name: 'under-test',
    image_url: 'images:system.qcow2',
    min_disk: 1,
    data_images: [{ image_url: 'images:data.raw', min_disk: 1 }],
  };

  describeSagaLaws(
    {
      name: 'image-batch',
      steps: ['awaitSubJobs'],
      undos: [
        { undo: 'endSubJobs', failAt: 'awaitSubJobs' },
        { undo: 'concludeJob', failAt: 'awaitSubJobs' },
      ],
    },
    () => saga,
  );

  const job = (id: string) =>
    cell.db
      .selectFrom('job')
      .select(['outcome', 'cancel_reason', 'error_code', 'fail_reason', 'epoch'])
      .where('id', '=', id)
      .executeTakeFirstOrThrow();
  const until = (id: string, is: (row: Awaited<ReturnType<typeof job>>) => boolean, what: string) =>
    waitFor(async () => is(await job(id)), { deadlineMs: DEADLINE_MS, what, everyMs: 10 });

  describe('files', () => {
    it('fails by the first part that failed, and the images that were made stay', async () => {
      const data_images = [{ image_url: 'images:absent.raw', min_disk: 1 }];
      const batch = await cell.submitBatch({ ...FILES, data_images });
      expect(await cell.settle(batch.jobId)).toBe('failed');
      const { error_code: code, fail_reason: reason } = await job(batch.jobId);
      expect(code).toBe('IMG.0057');
      expect(reason).toMatch(/^1 of 2 images were not made: under-test-data-1: .*absent/);
      expect(reason).toContain(`the images of the others stay: ${batch.subJobs[0]?.imageId}`);
      expect(await job(batch.subJobs[0]?.jobId ?? '')).toMatchObject({ outcome: 'succeeded' });
      await cell.checkJob(batch.jobId, 'failed');
    });

    it('says of the data what was found on the system disk, whatever was said of it (ims-api 6.2 C)', async () => {
      const batch = await cell.submitBatch({ ...FILES, os_type: 'Windows' });
      expect(await cell.settle(batch.jobId)).toBe('succeeded');
      for (const { imageId } of batch.subJobs) {
        const image = await new ImagesRepository(cell.db).find(cell.projectId, imageId);
        expect(image?.attributes).toMatchObject({ __os_type: 'Linux' });
      }
    });

    it('goes on job by job when the engine knows none of them (I1)', async () => {
      const batch = await cell.submitBatch(FILES, { start: false });
      const ids = [batch.jobId, ...batch.subJobs.map(({ jobId }) => jobId)];
      // As if the engine had been told of them and then lost everything.
      await cell.db
        .updateTable('outbox')
        .set({ sent_at: new Date(0) })
        .where('workflow_id', 'in', ids)
        .execute();
      const restarted = new Set<string>();
      await waitFor(
        async () => {
          for (const id of await cell.reconciler.pass()) restarted.add(id);
          return ids.every((id) => restarted.has(id));
        },
        { deadlineMs: RECONCILE_DEADLINE_MS, what: 'all three jobs were started again' },
      );
      expect(await cell.settle(batch.jobId)).toBe('succeeded');
      for (const id of ids) expect(await job(id)).toMatchObject({ outcome: 'succeeded', epoch: 2 });
      await cell.checkJob(batch.jobId, 'succeeded');
    });
  });

  describe('disks of one server', () => {
    let ids: [string, string];

    beforeAll(async () => {
      const disk = { sizeGib: 1, use: 'system', origin: { from: 'file', path: data } } as const;
      ids = [randomUUID(), randomUUID()];
      await cell.cloud.servers.create({
        id: randomUUID(),
        projectId: cell.projectId,
        name: 'under-test',
        kind: 'ecs',
        flavor: { id: 's6.large.2', vcpus: 2, ramMib: 4096, architecture: 'x86', series: 'S6' },
        availabilityZone: 'az1',
        volumes: ids.map((id) => ({ id, create: disk, bootIndex: null })),
        initialStatus: 'SHUTOFF',
      });
    });
    afterAll(async () => {
      await cell.checkSystem();
    });

    /** A job over both disks, with faults for the part of each. */
    const submit = (plan: (parts: readonly [JobId, JobId], parent: JobId) => readonly [FaultPlan, FaultPlan]) =>
      cell.submitBatch(
        { data_images: ids.map((volume_id, n) => ({ name: `data-${n}`, volume_id })) },
        {
          before: (parent, [one, two]) => {
            if (one === undefined || two === undefined) throw new Error('two disks are two parts');
            const [first, second] = plan([one, two], parent);
            cell.faults.plan(one, first);
            cell.faults.plan(two, second);
          },
        },
      );
    const first =
      (work: () => Promise<unknown>): Fault =>
      async ({ real, call }) => {
        if (call === 1) await work();
        return real();
      };
    const ended = (id: JobId) => until(id, ({ outcome }) => outcome !== null, `job ${id} ends`);
    const toBeCancelled = (id: JobId) =>
      until(id, ({ cancel_reason: reason }) => reason !== null, `job ${id} is to be cancelled`);
    const cancelled = async (id: JobId): Promise<void> => {
      await cell.cancelInLog(id);
      await ended(id);
    };

    const counterIn = async (imageId: string, offset: number): Promise<number> => {
      const image = await new ImagesRepository(cell.db).find(cell.projectId, imageId);
      const file = await cell.store.open(
        { domainId: dedupDomainId(image?.domain_id ?? ''), manifestHash: image?.manifest_hash ?? '' },
        'raw',
      );
      const chunks: Uint8Array[] = [];
      for await (const chunk of file.read({ offset, length: 8 })) chunks.push(chunk);
      return Number(Buffer.concat(chunks).readBigUInt64BE());
    };

    it('show one moment under a writer, also when one part begins after the other has ended (CRE-06)', async () => {
      const [a, b] = await Promise.all(
        ids.map((id) => cell.cloud.volumes.exportDisk(cell.projectId, id, { readOnly: false })),
      );
      if (a === undefined || b === undefined) throw new Error('both disks are open');
      let isDone = false;
      let count = 0;
      const writer = (async () => {
        while (!isDone) {
          count += 1;
          const bytes = Buffer.alloc(8);
          bytes.writeBigUInt64BE(BigInt(count));
          // First the one, then the other: at every moment the first is equal or one ahead.
          await a.disk.write(4096, bytes);
          await b.disk.write(1_000_000, bytes);
        }
      })();
      const batch = await submit(([one]) => [{}, { snapshotDisk: first(() => ended(one)) }]);
      expect(await cell.settle(batch.jobId)).toBe('succeeded');
      isDone = true;
      await writer;
      await a.release();
      await b.release();
      const [one, two] = batch.subJobs.map(({ imageId }) => imageId);
      const ahead = (await counterIn(one ?? '', 4096)) - (await counterIn(two ?? '', 1_000_000));
      expect([0, 1]).toContain(ahead);
      expect(await counterIn(one ?? '', 4096)).toBeLessThan(count - 10);
      await cell.checkJob(batch.jobId, 'succeeded');
      expect(await cell.snapshots()).toEqual([]);
    });

    it('are taken by nobody for a part that was cancelled before (CRE-24)', async () => {
      const seen: string[] = [];
      const batch = await submit(([, two]) => [
        {
          snapshotDisk: async ({ real }) => {
            await cancelled(two);
            const result = await real();
            seen.push(...(await cell.snapshots()));
            return result;
          },
        },
        { snapshotDisk: first(() => toBeCancelled(two)) },
      ]);
      expect(await cell.settle(batch.jobId)).toBe('failed');
      const [one, two] = batch.subJobs.map(({ jobId }) => jobId);
      expect(seen).toEqual([jobSnapshotId(one as JobId)]);
      expect([await job(one ?? ''), await job(two ?? '')]).toMatchObject([
        { outcome: 'succeeded' },
        { outcome: 'cancelled' },
      ]);
      expect((await job(batch.jobId)).fail_reason).toContain('cancelled by the test');
      await cell.checkJob(batch.jobId, 'failed');
      expect(await cell.snapshots()).toEqual([]);
    });

    it('lose the moment of a part that is cancelled after it was taken, and of none else', async () => {
      const batch = await submit(([one, two]) => [
        { releaseSnapshot: first(() => ended(two)) },
        {
          snapshotDisk: first(async () => {
            await waitFor(async () => (await cell.snapshots()).includes(jobSnapshotId(two)), {
              deadlineMs: DEADLINE_MS,
              what: `the moment of ${two} was taken by ${one}`,
              everyMs: 10,
            });
            await cell.cancelInLog(two);
          }),
        },
      ]);
      expect(await cell.settle(batch.jobId)).toBe('failed');
      expect(await job(batch.subJobs[0]?.jobId ?? '')).toMatchObject({ outcome: 'succeeded' });
      await cell.checkJob(batch.jobId, 'failed');
      expect(await cell.snapshots()).toEqual([]);
    });

    it('leave no moment that was taken in the very moment in which its part gave it up', async () => {
      const batch = await submit(([, two]) => [
        {
          publishImage: first(async () => {
            await cancelled(two);
            await cell.cloud.volumes.snapshot({
              projectId: cell.projectId,
              snapshotIdsByVolume: { [ids[1]]: jobSnapshotId(two) },
            });
          }),
        },
        { snapshotDisk: first(() => toBeCancelled(two)) },
      ]);
      await cell.settle(batch.jobId);
      expect(await cell.snapshots()).toEqual([]);
      await cell.checkJob(batch.jobId, (await job(batch.jobId)).outcome ?? 'failed');
    });
  });
});
