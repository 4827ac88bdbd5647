import {
  CloudSagas,
  cloudSagaOf,
  describeSagaLaws,
  makeDebianLikeDisk,
  type SagaUnderTest,
  temporaryDirectory,
  TestCell,
} from '@ims/testing';

describe('volume-create (IMG-10)', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;

  beforeAll(async () => {
    cell = await TestCell.start();
    const disk = await makeDebianLikeDisk(await temporaryDirectory());
    const imageId = await cell.anImage(disk.path);
    const cloud = new CloudSagas(cell);
    saga = cloudSagaOf(
      cell,
      (plan) => cloud.createVolume(imageId, { plan }),
      (job, outcome) => cloud.check(job, outcome),
    );
  });
  afterAll(() => cell.stop());

  describeSagaLaws(
    {
      name: 'volume-create',
      steps: ['checkImages', 'createVolumes', 'releaseImages'],
      undos: [
        { undo: 'dropImageHolds', failAt: 'createVolumes' },
        { undo: 'deleteVolumes', failAt: 'releaseImages' },
      ],
    },
    () => saga,
  );
});
