import { isProcessAlive, waitFor } from '@ims/embedded';
import { output, seconds } from '../output';
import { DataDirectory } from '../stack/data-directory';
import { regionDirectories } from '../stack/regions';
import { belongsTo } from '../system/process-owner';

// Longer than the supervisor needs when every part uses all of its time: worker and gateway 25 s each, Temporal 10 s, Postgres 20 s.
const GRACE_MS = 90_000;
// Children of a killed supervisor get a signal from the kernel and need a moment to end.
const ORPHAN_MS = 30_000;

/** `ims down`: stops the service in order and leaves no process behind; `--purge` removes its data too. */
export async function down(options: { data: string; purge: boolean }): Promise<void> {
  const directories = await regionDirectories(options.data);
  // The last one that came up goes first.
  for (const directory of directories.toReversed()) await downOne(directory, options.purge);
  if (options.purge) await new DataDirectory(options.data).purge();
}

async function downOne(directory: DataDirectory, isPurged: boolean): Promise<void> {
  const began = performance.now();
  const state = await directory.readState();
  const supervisor = await directory.livingSupervisor();
  if (supervisor !== undefined) {
    process.kill(supervisor, 'SIGTERM');
    const wentAway = await ends(supervisor, GRACE_MS);
    if (!wentAway) process.kill(supervisor, 'SIGKILL');
  }
  // After an orderly stop there is nothing left here; after a crash or a kill there may be.
  for (const [name, { pid }] of Object.entries(state?.services ?? {})) {
    if (!isProcessAlive(pid) || (await ends(pid, supervisor === undefined ? 0 : ORPHAN_MS))) continue;
    if (!(await belongsTo(pid, directory.path))) continue;
    output.progress(`${name} (process ${pid}) was left behind; ending it`);
    process.kill(pid, name === 'postgres' ? 'SIGINT' : 'SIGTERM');
    if (!(await ends(pid, ORPHAN_MS))) process.kill(pid, 'SIGKILL');
  }
  await directory.removeState();
  await directory.unlock();
  if (isPurged) await directory.purge();
  const what =
    supervisor === undefined ? 'The service was not running' : `Down in ${seconds(performance.now() - began)}`;
  output.progress(`${what}${isPurged ? `; ${directory.path} removed.` : '.'}`);
}

async function ends(pid: number, deadlineMs: number): Promise<boolean> {
  return waitFor(() => !isProcessAlive(pid), { deadlineMs, what: `process ${pid} to end` }).catch(() => false as const);
}
