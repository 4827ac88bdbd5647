import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

describe('docs/reference/events.md', () => {
  it('is what the event types of libs/contract say', async () => {
    const root = join(__dirname, '../../..');
    const run = (script: string, ...rest: string[]) =>
      promisify(execFile)(process.execPath, [join(root, script), ...rest], { cwd: root });
    // Fails with the command that writes it again.
    await run('infra/generate/events.mjs', '--check');
  });
});
