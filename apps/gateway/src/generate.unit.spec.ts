import { join } from 'node:path';
import { GENERATE_COMMAND, staleFiles } from './generate';

it(`openapi.json, routes.txt and errors.md are what the code says; otherwise run: ${GENERATE_COMMAND}`, async () => {
  expect(await staleFiles(join(__dirname, '../../..'))).toEqual([]);
});
