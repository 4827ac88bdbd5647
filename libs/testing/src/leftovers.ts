import { isProcessAlive } from '@ims/embedded';
import { execFile } from 'node:child_process';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Begins the name of a run's directory; the run's process id follows it. */
export const RUN_DIRECTORY_PREFIX = 'ims-test-';

const RUN_DIRECTORY = new RegExp(`^${RUN_DIRECTORY_PREFIX}(\\d+)-`);

/**
 * Removes from `parent` the directories of test runs that were killed before their teardown; their servers died with them. One that cannot
 * be removed stays: what an earlier run left must never keep this one from running.
 */
export async function removeLeftovers(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const pid = Number(RUN_DIRECTORY.exec(name)?.[1]);
    if (!Number.isInteger(pid) || isProcessAlive(pid)) continue;
    const directory = join(parent, name);
    await unmountBelow(directory);
    await rm(directory, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** A killed test that had mounted a small disk leaves it mounted, and a mount point cannot be removed. */
async function unmountBelow(directory: string): Promise<void> {
  // Elsewhere than on Linux nothing is mounted by a test.
  const mounts = await readFile('/proc/self/mounts', 'utf8').catch(() => '');
  const below = mounts
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((at) => at.startsWith(`${directory}/`))
    // The innermost first.
    .reverse();
  for (const at of below) {
    await promisify(execFile)('umount', [at]).catch(() => undefined);
  }
}
