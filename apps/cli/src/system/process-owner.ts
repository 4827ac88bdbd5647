import { commandLine } from '@ims/embedded';
import { readlink } from 'node:fs/promises';

/** True when a process serves the data directory: it names it on its command line or works in it. A process id alone may have been given anew. */
export async function belongsTo(pid: number, dataDir: string): Promise<boolean> {
  if (commandLine(pid)?.some((word) => word.includes(dataDir))) return true;
  return (await readlink(`/proc/${pid}/cwd`).catch(() => '')) === dataDir;
}
