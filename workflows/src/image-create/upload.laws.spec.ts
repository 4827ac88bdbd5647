import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { imageId, SYSTEM, usageStream } from '@ims/contract';
import { inTransaction } from '@ims/db';
import { decideCreateMetadata } from '@ims/domain';
import { appendEvents, readStream } from '@ims/event-log';
import {
  CloudSagas,
  convertDisk,
  describeSagaLaws,
  failBefore,
  type Fault,
  makeDebianLikeDisk,
  type SagaUnderTest,
  temporaryDirectory,
  TestCell,
  uploadSagaOf,
  waitFor,
} from '@ims/testing';

// The steps between are those of every other source (image-create.laws.spec.ts).
describe('image-create from a file that was sent', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;
  let file: Buffer;

  beforeAll(async () => {
    cell = await TestCell.start();
    const disk = await makeDebianLikeDisk(await temporaryDirectory());
    file = await readFile(await convertDisk(disk.path, 'qcow2-zlib'));
    saga = uploadSagaOf(cell, file, 'qcow2');
  });
  afterAll(() => cell.stop());

  describeSagaLaws(
    {
      name: 'image-create',
      steps: ['inspectSource', 'publishImage', 'openUsage'],
      undos: [
        { undo: 'discardIngest', failAt: 'verifyDisk' },
        { undo: 'withdrawImage', failAt: 'openUsage' },
        { undo: 'concludeJob', failAt: 'inspectSource' },
      ],
    },
    () => saga,
  );

  it('gives up the disk that others have derived from an image whose last step fails (I4)', async () => {
    const cloud = new CloudSagas(cell);
    const useIt = async (imageId: string): Promise<void> => {
      const { jobId, serverIds } = await cloud.createServers(imageId);
      expect(await cell.settle(jobId)).toBe('succeeded');
      const deletion = await cloud.changeServers('delete-servers', serverIds);
      expect(await cell.settle(deletion.jobId)).toBe('succeeded');
    };
    const useAndFail: Fault = async (call) => {
      // It is active from the step before the last one on.
      const row = await cell.db.selectFrom('job').select('image_id').where('id', '=', call.jobId).executeTakeFirst();
      await useIt(row?.image_id ?? '');
      return failBefore(call);
    };
    const { jobId, imageId } = await cell.submitUpload(file, 'qcow2', {
      before: (job) => cell.faults.plan(job, { openUsage: useAndFail }),
    });
    expect(await cell.settle(jobId)).toBe('failed');
    await cell.checkSystem();
    // The image waits for bytes again. With them its disk is derived once more.
    const again = await cell.submitUpload(file, 'qcow2', { into: imageId });
    expect(await cell.settle(again.jobId)).toBe('succeeded');
    await useIt(imageId);
    await cell.checkSystem();
  });

  it('meters nothing of a public image (BIL-01)', async () => {
    const { db, projectId } = cell;
    const id = imageId(randomUUID());
    const plenty = { limit: 10_000, used: 0, reserved: 0 };
    const request = { name: 'debian-12', disk_format: 'qcow2' };
    const { events } = decideCreateMetadata({ imageQuota: plenty }, { projectId, imageId: id, request });
    const asGold = events.map((event) =>
      event.type === 'image.queued' ? { ...event, data: { ...event.data, imageType: 'gold' as const } } : event,
    );
    await inTransaction(db, (trx) => appendEvents(trx, { projectId, actor: SYSTEM }, asGold));
    const { jobId } = await cell.submitUpload(file, 'qcow2', { into: id });
    expect(await cell.settle(jobId)).toBe('succeeded');
    const image = await db.selectFrom('image').select(['status', 'image_type']).where('id', '=', id).executeTakeFirst();
    expect(image).toEqual({ status: 'active', image_type: 'gold' });
    expect(await readStream(db, usageStream(id))).toEqual([]);
    await cell.checkSystem();
  });

  it('leaves nothing of what was sent, however its job ended', async () => {
    await waitFor(async () => ((await cell.staged.list()).length === 0 ? true : undefined), {
      deadlineMs: 30_000,
      what: 'every staged file is deleted',
    });
  });
});
