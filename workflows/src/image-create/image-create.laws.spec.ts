import {
  convertDisk,
  describeSagaLaws,
  importSagaOf,
  makeDebianLikeDisk,
  type SagaUnderTest,
  temporaryDirectory,
  TestCell,
} from '@ims/testing';

const KEY = 'source.qcow2';

describe('image-create (IMG-20, CRE-09)', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;

  beforeAll(async () => {
    cell = await TestCell.start();
    const directory = await temporaryDirectory();
    const disk = await makeDebianLikeDisk(directory);
    await cell.putFile(await convertDisk(disk.path, 'qcow2-v3'), KEY);
    saga = importSagaOf(cell, KEY);
  });
  afterAll(() => cell.stop());

  describeSagaLaws(
    {
      name: 'image-create',
      steps: ['inspectSource', 'ingestDisk', 'verifyDisk', 'identifyOs', 'publishImage', 'openUsage'],
      undos: [
        { undo: 'discardIngest', failAt: 'verifyDisk' },
        { undo: 'withdrawImage', failAt: 'openUsage' },
        { undo: 'voidUsage', failAt: 'openUsage' },
        { undo: 'concludeJob', failAt: 'inspectSource' },
      ],
    },
    () => saga,
  );
});
