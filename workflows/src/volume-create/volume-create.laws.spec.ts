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

describe('volume-create (IMG-10)', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;

  beforeAll(async () => {
    cell = await TestCell.start();
    const disk = await makeDebianLikeDisk(await temporaryDirectory());
    await cell.putFile(await convertDisk(disk.path, 'qcow2-v3'), KEY);
    const made = await cell.submitImport({ key: KEY });
    await cell.settle(made.jobId);
    const cloud = new CloudSagas(cell);
    saga = cloudSagaOf(
      cell,
      (plan) => cloud.createVolume(made.imageId, { plan }),
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
