import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Mounts an empty disk in memory of so many MiB on a directory: a disk that is really full is soon made of it. */
export function mountSmallDisk(at: string, mebibytes: number): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', at], { stdio: 'ignore' });
}

/** Detaches it also while files on it are still open. */
export function unmountSmallDisk(at: string): void {
  execFileSync('umount', ['--lazy', at]);
}

/** Whether this user may mount; the tests that need a small disk are skipped where only root may and we are not. */
export function mayMount(): boolean {
  const at = mkdtempSync(join(tmpdir(), 'ims-mount-'));
  try {
    mountSmallDisk(at, 1);
    unmountSmallDisk(at);
    return true;
  } catch {
    return false;
  } finally {
    rmdirSync(at);
  }
}
