import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removeLeftovers, RUN_DIRECTORY_PREFIX } from './leftovers';
import { mayMount, mountSmallDisk } from './small-disk';

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

  (mayMount() ? it : it.skip)('is removed although a disk is still mounted in it', async () => {
    const directory = await runDirectory(ended);
    mountSmallDisk(join(directory, 'files', 'store'), 1);
    await removeLeftovers(parent);
    expect(await readdir(parent)).toEqual([]);
  });
});
