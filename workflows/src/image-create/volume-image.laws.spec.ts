import { join } from 'node:path';
import { openEmbeddedCloud, storedImages } from '@ims/neighbours';
import {
  describeSagaLaws,
  makeDebianLikeDisk,
  type SagaUnderTest,
  temporaryDirectory,
  TestCell,
  volumeImageSagaOf,
} from '@ims/testing';

describe('image-create from a disk of no server (ims-api 6.2 E)', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;
  let volumeId: string;

  beforeAll(async () => {
    cell = await TestCell.start();
    const { path } = await makeDebianLikeDisk(await temporaryDirectory());
    volumeId = (await cell.aDisk(path)).id;
    saga = volumeImageSagaOf(cell, volumeId);
  });
  afterAll(() => cell.stop());

  // The other steps are those of every disk (server-image.laws.spec.ts).
  describeSagaLaws(
    {
      name: 'image-create',
      steps: ['snapshotDisk', 'ingestDisk', 'verifyDisk', 'releaseSnapshot', 'identifyOs', 'publishImage', 'openUsage'],
      only: ['snapshotDisk'],
      undos: [{ undo: 'dropSnapshot', failAt: 'ingestDisk' }],
    },
    () => saga,
  );

  it('ends as a busy server when another process keeps the disk open, and leaves nothing (CRE-03)', async () => {
    const elsewhere = await openEmbeddedCloud({
      db: cell.db,
      directory: join(cell.directory, 'cloud'),
      images: storedImages(cell.store),
      qemu: false,
    });
    const held = await elsewhere.volumes.exportDisk(cell.projectId, volumeId, { readOnly: true });
    const { jobId } = await cell.submitVolumeImage(volumeId);
    expect(await cell.settle(jobId)).toBe('failed');
    await held.release();
    await elsewhere.close();
    const job = await cell.db
      .selectFrom('job')
      .select(['error_code', 'fail_reason'])
      .where('id', '=', jobId)
      .executeTakeFirst();
    expect(job?.error_code).toBe('IMG.0010');
    expect(job?.fail_reason).toContain('open in another process');
    await cell.checkJob(jobId, 'failed');
    await cell.checkSystem();
  });
});
