import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

// The gateway's own files (routes, OpenAPI, errors) and the database types have their checks beside them.
describe('generated files', () => {
  it('docs/reference/events.md says what libs/contract says', async () => {
    await run(process.execPath, [resolve(__dirname, '../infra/generate/events.mjs'), '--check']);
  });
});
