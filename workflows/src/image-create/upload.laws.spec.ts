import { readFile } from 'node:fs/promises';
import {
  convertDisk,
  describeSagaLaws,
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

  beforeAll(async () => {
    cell = await TestCell.start();
    const disk = await makeDebianLikeDisk(await temporaryDirectory());
    saga = uploadSagaOf(cell, await readFile(await convertDisk(disk.path, 'qcow2-zlib')), 'qcow2');
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

  it('leaves nothing of what was sent, however its job ended', async () => {
    await waitFor(async () => ((await cell.staged.list()).length === 0 ? true : undefined), {
      deadlineMs: 30_000,
      what: 'every staged file is deleted',
    });
  });
});
