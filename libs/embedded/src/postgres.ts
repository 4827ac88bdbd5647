import { errorCode, errorMessage } from './error-code';
import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { EmbeddedError } from './embedded-error';
import { freePort, isPortFree } from './free-port';
import { unprivilegedUser, unreachableParent } from './os-user';
import { POSTGRES_MAJOR, type PostgresBinaries, postgresBinaries } from './postgres-binaries';
import { commandLine, isProcessAlive } from './process-table';
import { type OsUserIds, ServerProcess } from './server-process';
import { StopWaiting, waitFor } from './wait-for';

const run = promisify(execFile);

const HOST = '127.0.0.1';
const SUPERUSER = 'postgres';

// Crash recovery replays the log since the last checkpoint; a laptop disk may need most of a minute for it.
const READY_DEADLINE_MS = 90_000;

// Another process may take a port between our look and the server's bind.
const START_ATTEMPTS = 3;

export interface PostgresOptions {
  /** Data directory of the cluster; made when absent, kept when the server stops. */
  dataDir: string;
  /** Loopback port; a free one when left out. */
  port?: number;
  superuserPassword: string;
  /** Server settings beside ours, such as `{ fsync: 'off' }` for throw-away clusters. */
  settings?: Record<string, string>;
  /** `<dataDir>.log` when left out. */
  logFile?: string;
}

export interface PostgresServer {
  port: number;
  pid: number;
  /** Superuser connection to the database `postgres`. */
  adminUrl: string;
  /** Settles when the server ends, asked or not. */
  exited: Promise<unknown>;
  /** Fast shutdown: open transactions are rolled back, everything committed is on disk. */
  stop(): Promise<void>;
}

/**
 * Starts Postgres 18 on loopback with scram-sha-256, making the cluster at first use. As root it runs as an unprivileged user.
 * A lock left by a dead server is taken over; a living one is refused.
 *
 * @example const postgres = await startPostgres({ dataDir: '.data/postgres', superuserPassword });
 * @throws EmbeddedError BINARY_MISSING, DATA_DIRECTORY_IN_USE, DATA_DIRECTORY_UNUSABLE, DISK_FULL, OS_USER_MISSING, PORT_TAKEN,
 *   START_FAILED, WRONG_PASSWORD or WRONG_VERSION
 */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const dataDir = resolve(options.dataDir);
  const user = await unprivilegedUser();
  const binaries = await postgresBinaries(user);
  await mkdir(dirname(dataDir), { recursive: true });
  if (user) await refuseUnreachable(dataDir, user);
  await refuseLivingServer(dataDir);
  if (options.port !== undefined && !(await isPortFree(options.port))) throw portTaken(options.port);
  await ensureCluster(dataDir, binaries, user, options);
  for (let attempt = 1; ; attempt++) {
    const port = options.port ?? (await freePort());
    try {
      return await launch(dataDir, port, binaries, user, options);
    } catch (error) {
      const mayPass = error instanceof TransientStartError || (isPortTaken(error) && options.port === undefined);
      if (!mayPass || attempt === START_ATTEMPTS) throw error instanceof TransientStartError ? error.cause : error;
    }
  }
}

/** The start failed for a reason that passes by itself within moments. */
class TransientStartError extends Error {
  constructor(override readonly cause: EmbeddedError) {
    super(cause.message, { cause });
  }
}

async function launch(
  dataDir: string,
  port: number,
  binaries: PostgresBinaries,
  user: OsUserIds | undefined,
  options: PostgresOptions,
): Promise<PostgresServer> {
  const settings: Record<string, string> = {
    listen_addresses: HOST,
    port: String(port),
    // TCP only: a socket directory would be one more path with permissions to get wrong.
    unix_socket_directories: '',
    password_encryption: 'scram-sha-256',
    timezone: 'UTC',
    log_timezone: 'UTC',
    // Gateway, worker and tests each hold a pool; the default of 100 is for one application.
    max_connections: '200',
    ...options.settings,
  };
  const server = await ServerProcess.start({
    name: 'Postgres',
    command: binaries.postgres,
    args: ['-D', dataDir, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    cwd: '/',
    user,
    logFile: options.logFile ?? `${dataDir}.log`,
    // SIGINT is fast shutdown, SIGQUIT immediate shutdown (recovery at the next start).
    stop: [
      { signal: 'SIGINT', graceMs: 15_000 },
      { signal: 'SIGQUIT', graceMs: 5_000 },
    ],
    onParentDeath: 'SIGINT',
  });
  const adminUrl = postgresUrl({ user: SUPERUSER, password: options.superuserPassword, port, database: 'postgres' });
  try {
    await waitFor(
      async () => {
        if (!server.isRunning) throw new StopWaiting(await startFailure(server, port));
        try {
          await ping(adminUrl);
        } catch (error) {
          if (errorCode(error) === '28P01') throw new StopWaiting(wrongPassword(dataDir, error));
          throw error;
        }
        return true;
      },
      { deadlineMs: READY_DEADLINE_MS, what: `Postgres in ${dataDir} to accept connections` },
    );
  } catch (error) {
    await server.stop();
    throw error;
  }
  return { port, pid: server.pid, adminUrl, exited: server.exited, stop: () => server.stop() };
}

/** Connection string of a loopback server. */
export function postgresUrl(target: { user: string; password: string; port: number; database: string }): string {
  const [user, password, database] = [target.user, target.password, target.database].map(encodeURIComponent);
  return `postgresql://${user}:${password}@${HOST}:${target.port}/${database}`;
}

async function ping(url: string): Promise<void> {
  const client = new Client({ connectionString: url });
  // A server that goes down while we look closes the socket; the query's own rejection is what counts.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('select 1');
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function ensureCluster(
  dataDir: string,
  binaries: PostgresBinaries,
  user: OsUserIds | undefined,
  options: PostgresOptions,
): Promise<void> {
  const version = await readFile(join(dataDir, 'PG_VERSION'), 'utf8').catch(() => undefined);
  if (version !== undefined) {
    if (version.trim() === POSTGRES_MAJOR) return;
    throw new EmbeddedError(
      'WRONG_VERSION',
      `start Postgres: ${dataDir} was written by Postgres ${version.trim()}, this is ${POSTGRES_MAJOR}`,
      'Dump it with the old version and restore it, or choose another data directory.',
    );
  }
  const entries = await readdir(dataDir).catch(() => []);
  if (entries.length > 0) {
    throw new EmbeddedError(
      'DATA_DIRECTORY_UNUSABLE',
      `start Postgres: ${dataDir} is not empty and is no Postgres data directory`,
      'Choose another data directory, or move the files away.',
    );
  }
  // Built beside its place and moved there when complete: an interrupted first start leaves nothing that looks like a cluster.
  const draft = `${dataDir}.new`;
  const passwordFile = `${dataDir}.password`;
  await rm(draft, { recursive: true, force: true });
  await mkdir(draft, { mode: 0o700 });
  await rm(passwordFile, { force: true });
  try {
    await writeFile(passwordFile, options.superuserPassword, { mode: 0o600 });
    if (user) {
      await chown(draft, user.uid, user.gid);
      await chown(passwordFile, user.uid, user.gid);
    }
    await run(
      binaries.initdb,
      [
        `--pgdata=${draft}`,
        `--username=${SUPERUSER}`,
        `--pwfile=${passwordFile}`,
        '--auth=scram-sha-256',
        '--encoding=UTF8',
        // Sorting by code point is the same on every machine; a locale's own rules change with the C library.
        '--locale-provider=builtin',
        '--builtin-locale=C.UTF-8',
        '--locale=C',
        '--data-checksums',
        // Who does not wait for the disk later need not wait for it now.
        ...(options.settings?.fsync === 'off' ? ['--no-sync'] : []),
      ],
      { cwd: '/', ...(user ?? {}) },
    );
    await rm(dataDir, { recursive: true, force: true });
    await rename(draft, dataDir);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    const output = errorMessage(error);
    if (output.includes('No space left') || output.includes('ENOSPC')) throw diskFull(dataDir, error);
    throw new EmbeddedError(
      'START_FAILED',
      `create the Postgres cluster ${dataDir}: ${output}`,
      'Check that the directory may be written and the disk has room.',
      { cause: error },
    );
  } finally {
    await rm(passwordFile, { force: true });
  }
}

async function refuseLivingServer(dataDir: string): Promise<void> {
  const lockFile = join(dataDir, 'postmaster.pid');
  const text = await readFile(lockFile, 'utf8').catch(() => undefined);
  const pid = Number(text?.split('\n')[0]);
  // The lock of a dead process is left to Postgres, which also checks for backends that still hold its memory.
  if (!Number.isInteger(pid) || pid <= 0 || !isProcessAlive(pid)) return;
  const words = commandLine(pid);
  if (words === undefined || /(^|\/)postgres$/.test(words[0] ?? '')) {
    throw new EmbeddedError(
      'DATA_DIRECTORY_IN_USE',
      `start Postgres: process ${pid} already serves ${dataDir}`,
      `Stop it first ("ims down", or "kill -INT ${pid}"), or choose another data directory.`,
    );
  }
  // Its id now belongs to another program (after a reboot, or in a new container), which would make Postgres refuse for ever.
  await rm(lockFile, { force: true });
}

async function refuseUnreachable(dataDir: string, user: OsUserIds): Promise<void> {
  const closed = await unreachableParent(dataDir, user);
  if (closed === undefined) return;
  throw new EmbeddedError(
    'DATA_DIRECTORY_UNUSABLE',
    `start Postgres: it runs as an unprivileged user, which may not enter ${closed}`,
    `Choose a data directory outside of it (--data /var/lib/ims), allow it with "chmod o+x ${closed}", or run this as another user than root.`,
  );
}

async function startFailure(server: ServerProcess, port: number): Promise<Error> {
  const tail = await server.logTail();
  if (tail.includes('Address already in use')) return portTaken(port);
  if (tail.includes('No space left on device')) return diskFull('the data directory of Postgres', undefined);
  const failed = new EmbeddedError(
    'START_FAILED',
    `start Postgres: it ended at once. Its last words:\n${tail}`,
    'The whole log lies beside the data directory.',
  );
  // Backends of a killed server notice its death within moments.
  return tail.includes('shared memory block') ? new TransientStartError(failed) : failed;
}

function portTaken(port: number): EmbeddedError {
  return new EmbeddedError(
    'PORT_TAKEN',
    `start Postgres: port ${port} is taken`,
    'Stop the program that listens there, or choose another port.',
  );
}

function isPortTaken(error: unknown): boolean {
  return error instanceof EmbeddedError && error.code === 'PORT_TAKEN';
}

function diskFull(where: string, cause: unknown): EmbeddedError {
  return new EmbeddedError(
    'DISK_FULL',
    `start Postgres: no space left for ${where}`,
    'Free some space and try again.',
    {
      cause,
    },
  );
}

function wrongPassword(dataDir: string, cause: unknown): EmbeddedError {
  return new EmbeddedError(
    'WRONG_PASSWORD',
    `start Postgres: the cluster in ${dataDir} was made with another superuser password`,
    'Use the state file that belongs to this data directory, or choose another data directory.',
    { cause },
  );
}

/** Makes `path` enterable, not readable, for others: what a parent of a data directory needs when Postgres runs as another user. */
export async function openForServers(path: string): Promise<void> {
  await chmod(path, 0o711);
}
