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

  beforeAll(async () => {
    cell = await TestCell.start();
    const { path } = await makeDebianLikeDisk(await temporaryDirectory());
    saga = volumeImageSagaOf(cell, (await cell.aDisk(path)).id);
  });
  afterAll(() => cell.stop());

  // The other steps are those of every disk (server-image.laws.spec.ts).
  describeSagaLaws(
    {
      name: 'image-create',
      steps: ['snapshotDisk', 'openUsage'],
      undos: [{ undo: 'dropSnapshot', failAt: 'ingestDisk' }],
    },
    () => saga,
  );
});
