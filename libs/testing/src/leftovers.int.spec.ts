import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { removeLeftovers, RUN_DIRECTORY_PREFIX } from './leftovers';

const run = promisify(execFile);
const mountTmpfs = ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs'];

describe('what killed test runs left', () => {
  let parent: string;
  let ended: number;

  beforeAll(async () => {
    const child = spawn('true');
    await once(child, 'exit');
    ended = child.pid ?? 0;
  });
  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), 'leftovers-'));
  });
  afterEach(() => rm(parent, { recursive: true, force: true }));

  const runDirectory = async (pid: number): Promise<string> => {
    const path = join(parent, `${RUN_DIRECTORY_PREFIX}${pid}-x`);
    await mkdir(join(path, 'files', 'store'), { recursive: true });
    await writeFile(join(path, 'files', 'store', 'file'), 'x');
    return path;
  };

  it('is removed, and nothing of a run that lives or of anybody else', async () => {
    await runDirectory(ended);
    await runDirectory(process.pid);
    await mkdir(join(parent, 'other'));
    await removeLeftovers(parent);
    expect((await readdir(parent)).sort()).toEqual([`${RUN_DIRECTORY_PREFIX}${process.pid}-x`, 'other']);
  });

  const mayMount = (): boolean => {
    const at = execFileSync('mktemp', ['-d'], { encoding: 'utf8' }).trim();
    try {
      execFileSync('mount', [...mountTmpfs, at], { stdio: 'ignore' });
      execFileSync('umount', [at]);
      return true;
    } catch {
      return false;
    } finally {
      execFileSync('rmdir', [at]);
    }
  };

  (mayMount() ? it : it.skip)('is removed although a disk is still mounted in it', async () => {
    const directory = await runDirectory(ended);
    await run('mount', [...mountTmpfs, join(directory, 'files', 'store')]);
    await removeLeftovers(parent);
    expect(await readdir(parent)).toEqual([]);
  });
});
