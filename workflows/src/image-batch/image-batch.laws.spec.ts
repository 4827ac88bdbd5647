import {
  batchSagaOf,
  convertDisk,
  describeSagaLaws,
  makeDebianLikeDisk,
  type SagaUnderTest,
  temporaryDirectory,
  TestCell,
} from '@ims/testing';

describe('image-batch from files (ims-api 6.2 C)', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;

  beforeAll(async () => {
    cell = await TestCell.start();
    const { path } = await makeDebianLikeDisk(await temporaryDirectory());
    await cell.putFile(await convertDisk(path, 'qcow2-v3'), 'system.qcow2');
    await cell.putFile(await convertDisk(path, 'vhd-dynamic'), 'data.vhd');
    saga = batchSagaOf(cell, {
      name: 'under-test',
      image_url: 'images:system.qcow2',
      min_disk: 1,
      data_images: [{ image_url: 'images:data.vhd', min_disk: 1 }],
    });
  });
  afterAll(() => cell.stop());

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
});
