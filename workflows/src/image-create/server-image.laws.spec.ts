import {
  describeSagaLaws,
  makeDebianLikeDisk,
  type SagaUnderTest,
  serverImageSagaOf,
  temporaryDirectory,
  TestCell,
} from '@ims/testing';

describe('image-create from a server (CRE-01, CRE-03)', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;

  beforeAll(async () => {
    cell = await TestCell.start();
    const disk = await makeDebianLikeDisk(await temporaryDirectory());
    saga = serverImageSagaOf(cell, (await cell.aServer(disk.path)).id);
  });
  afterAll(() => cell.stop());

  describeSagaLaws(
    {
      name: 'image-create',
      steps: ['snapshotDisk', 'ingestDisk', 'verifyDisk', 'releaseSnapshot', 'identifyOs', 'publishImage', 'openUsage'],
      undos: [
        { undo: 'dropSnapshot', failAt: 'ingestDisk' },
        { undo: 'discardIngest', failAt: 'verifyDisk' },
        { undo: 'withdrawImage', failAt: 'openUsage' },
        { undo: 'concludeJob', failAt: 'snapshotDisk' },
      ],
    },
    () => saga,
  );
});
