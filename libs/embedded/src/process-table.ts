import { readFileSync } from 'node:fs';

/** True while a process of that id exists, whoever owns it. A process that has ended and was not reaped yet does not count. */
export function isProcessAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it exists and belongs to somebody else.
    if (!(error instanceof Error && 'code' in error && error.code === 'EPERM')) return false;
  }
  return !isZombie(pid);
}

/** Arguments of a running process, or undefined where the system does not tell. */
export function commandLine(pid: number): string[] | undefined {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return words.length > 1 ? words.slice(0, -1) : undefined;
  } catch {
    // No such process, or no /proc on this system: both mean that nothing is known.
    return undefined;
  }
}

function isZombie(pid: number): boolean {
  try {
    // Third field, after the command in parentheses (which may itself hold spaces and parentheses).
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2, text.lastIndexOf(')') + 3) === 'Z';
  } catch {
    // No /proc on this system: the signal test above is all there is.
    return false;
  }
}
