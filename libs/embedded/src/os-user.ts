import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { promisify } from 'node:util';
import { EmbeddedError } from './embedded-error';
import type { OsUserIds } from './server-process';

const run = promisify(execFile);

// Our own first; `postgres` is what packages of the operating system make.
const CANDIDATES = ['ims-postgres', 'postgres'];

/**
 * The user that Postgres runs as: undefined (ourselves) unless we are root, because Postgres refuses to run as root.
 * Reuses a user of the system or makes `ims-postgres`.
 *
 * @throws EmbeddedError OS_USER_MISSING when there is none and none can be made
 */
export async function unprivilegedUser(): Promise<OsUserIds | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of CANDIDATES) {
    const ids = await lookUp(name);
    if (ids) return ids;
  }
  const [name] = CANDIDATES;
  const created = 'useradd --system --user-group --no-create-home --shell /usr/sbin/nologin ims-postgres';
  try {
    await run('useradd', created.split(' ').slice(1));
  } catch (error) {
    // Two processes may create the user at the same time; the look-up below tells who is right.
    if (!(await lookUp(name ?? ''))) {
      throw new EmbeddedError(
        'OS_USER_MISSING',
        'start Postgres: it refuses to run as root, and no unprivileged user exists',
        `Create one with "${created}", or run this as another user than root.`,
        { cause: error },
      );
    }
  }
  return lookUp(name ?? '');
}

/** The first directory on the way to `path` that `user` may not enter, or undefined. Directories that do not exist yet are fine. */
export async function unreachableParent(path: string, user: OsUserIds): Promise<string | undefined> {
  const parents: string[] = [];
  for (let directory = dirname(resolve(path)); ; directory = dirname(directory)) {
    parents.unshift(directory);
    if (directory === dirname(directory)) break;
  }
  for (const directory of parents) {
    const info = await stat(directory).catch(() => undefined);
    if (!info) return undefined;
    const bit = info.uid === user.uid ? 0o100 : info.gid === user.gid ? 0o010 : 0o001;
    if ((info.mode & bit) === 0) return directory;
  }
  return undefined;
}

async function lookUp(name: string): Promise<OsUserIds | undefined> {
  try {
    const [uid, gid] = await Promise.all(
      ['-u', '-g'].map(async (flag) => Number((await run('id', [flag, name])).stdout)),
    );
    return uid === undefined || gid === undefined ? undefined : { uid, gid };
  } catch {
    // `id` fails exactly when there is no such user.
    return undefined;
  }
}
