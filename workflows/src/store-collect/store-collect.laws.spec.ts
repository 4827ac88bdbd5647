import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  collectionSagaOf,
  describeSagaLaws,
  noise,
  type SagaUnderTest,
  temporaryDirectory,
  TestCell,
} from '@ims/testing';

const MIB = 2 ** 20;
const KEY = 'source.raw';

describe('store-collect (I4, C9)', () => {
  let cell: TestCell;
  let saga: SagaUnderTest;

  beforeAll(async () => {
    cell = await TestCell.start();
    const raw = join(await temporaryDirectory(), KEY);
    await writeFile(raw, noise(KEY, 4 * MIB));
    await cell.putFile(raw, KEY);
    saga = await collectionSagaOf(cell, KEY);
  });
  afterAll(() => cell.stop());

  describeSagaLaws(
    {
      name: 'store-collect',
      steps: ['collectStore', 'auditStore'],
      undos: [{ undo: 'concludeJob', failAt: 'collectStore' }],
    },
    () => saga,
  );
});
