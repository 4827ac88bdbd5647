import { errorCode } from './error-code';
import { readFileSync } from 'node:fs';

/** True while a process of that id exists, whoever owns it. A process that has ended and was not reaped yet does not count. */
export function isProcessAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it exists and belongs to somebody else.
    if (errorCode(error) !== 'EPERM') return false;
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

/**
 * When a process began, in clock ticks since boot: with its id it names one process for ever, where an id alone is given anew.
 * Undefined when there is no such process or the system does not tell.
 */
export function processStart(pid: number): string | undefined {
  // Field 22; the state (field 3) is the first one of the list.
  return statFields(pid)?.[19];
}

function isZombie(pid: number): boolean {
  return statFields(pid)?.[0] === 'Z';
}

/** Fields of /proc/<pid>/stat from the third on: the second is the command in parentheses and may itself hold spaces and parentheses. */
function statFields(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    // No such process, or no /proc on this system: both mean that nothing is known.
    return undefined;
  }
}
