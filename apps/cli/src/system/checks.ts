import { readAll } from '@ims/event-log';
import { connect, systemClock } from '@ims/db';
import {
  embeddedConfig,
  errorMessage,
  findTemporalBinary,
  isPortFree,
  isProcessAlive,
  processStart,
} from '@ims/embedded';
import { execFile } from 'node:child_process';
import { mkdtemp, open, readdir, readFile, rm, statfs } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { sql } from 'kysely';
import type { CliConfig } from '../config';
import type { DataDirectory, StackState } from '../stack/data-directory';
import { findProgram } from './find-program';
import { belongsTo } from './process-owner';

const run = promisify(execFile);

export interface Finding {
  check: string;
  verdict: 'ok' | 'warning' | 'problem';
  found: string;
  /** What to do about it; absent when all is well. */
  remedy?: string;
}

// Jest loads packages that are ESM only through require, which works from here on.
const NODE_AT_LEAST = [24, 9] as const;
// An image of some GiB, its packs and the database side by side.
const FREE_BYTES_WANTED = 10 * 1024 ** 3;
const FREE_BYTES_NEEDED = 1024 ** 3;
// A commit waits for one fsync; above this the disk, not the service, sets the pace.
const FSYNC_WARNING_MS = 50;
// Signed requests are refused beyond 15 minutes; far below that a drift already confuses the order of logs.
const CLOCK_WARNING_MS = 2_000;
// Postgres, Temporal and two Node processes hold some hundred files each under load.
const OPEN_FILES_WANTED = 4_096;

/** Every check of `ims doctor`, independent of each other: one that cannot be made is a finding, not a failure of the others. */
export async function examine(config: CliConfig, directory: DataDirectory): Promise<Finding[]> {
  const state = await directory.readState().catch(() => undefined);
  const supervisor = await directory.livingSupervisor();
  const running = supervisor === undefined ? undefined : state;
  const checks: (Promise<Finding> | Promise<Finding[]>)[] = [
    node(),
    program('qemu-img', ['--version'], 'qemu-utils', config),
    program('qemu-nbd', ['--version'], 'qemu-utils', config),
    sandbox(config),
    program('mke2fs', ['-V'], 'e2fsprogs', config),
    program('sfdisk', ['--version'], 'fdisk', config),
    temporalBinary(),
    postgresUser(config),
    freeDisk(directory.path),
    fsync(directory.path),
    openFiles(),
    orphans(directory, state, supervisor),
    ...(running ? [clock(running), schema(running), chain(running), gateway(running)] : [ports()]),
  ];
  return (
    await Promise.all(
      checks.map((check) =>
        check.catch((error: unknown): Finding => ({
          check: 'examination',
          verdict: 'problem',
          found: errorMessage(error),
        })),
      ),
    )
  ).flat();
}

async function node(): Promise<Finding> {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const isNew = major > NODE_AT_LEAST[0] || (major === NODE_AT_LEAST[0] && minor >= NODE_AT_LEAST[1]);
  return isNew
    ? ok('Node', process.version)
    : problem(
        'Node',
        process.version,
        `Run through npm ("npm run ims -- …"), which uses the pinned Node ${NODE_AT_LEAST.join('.')} or newer.`,
      );
}

async function program(name: string, args: string[], debianPackage: string, config: CliConfig): Promise<Finding> {
  const path = await findProgram(name, config.inherited.PATH);
  if (path === undefined)
    return problem(name, 'not installed', `apt-get install ${debianPackage}, or "node bootstrap.mjs" as root`);
  const { stdout, stderr } = await run(path, args);
  return ok(name, (stdout || stderr).split('\n')[0]?.trim() ?? path);
}

async function sandbox(config: CliConfig): Promise<Finding> {
  const bwrap = await findProgram('bwrap', config.inherited.PATH);
  if (bwrap === undefined) {
    return problem('bwrap', 'not installed', 'apt-get install bubblewrap; without it foreign formats are refused');
  }
  try {
    await run(bwrap, ['--unshare-all', '--ro-bind', '/', '/', '/bin/true']);
    return ok('bwrap', 'can make sandboxes');
  } catch (error) {
    return problem(
      'bwrap',
      `cannot make a sandbox: ${firstLine(error)}`,
      'Allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, or a container with --security-opt seccomp=unconfined); until then foreign formats are refused.',
    );
  }
}

async function temporalBinary(): Promise<Finding> {
  const found = await findTemporalBinary(embeddedConfig());
  if (!found) {
    return problem(
      'Temporal CLI',
      'not found',
      '"ims doctor --fix", or install it and set IMS_TEMPORAL_BINARY to its path',
    );
  }
  const { stdout } = await run(found.path, ['--version']);
  return ok('Temporal CLI', `${stdout.trim()} from ${found.source}`);
}

async function postgresUser(config: CliConfig): Promise<Finding> {
  const { uid, username } = userInfo();
  if (uid !== 0) return ok('Postgres user', username);
  for (const name of ['ims-postgres', 'postgres']) {
    const exists = await run('id', ['-u', name]).then(
      () => true,
      () => false,
    );
    if (exists) return ok('Postgres user', name);
  }
  return (await findProgram('useradd', config.inherited.PATH)) === undefined
    ? problem(
        'Postgres user',
        'none, and useradd is missing',
        'Create a user named ims-postgres, or do not run this as root.',
      )
    : ok('Postgres user', 'ims-postgres will be made at the first start');
}

async function freeDisk(path: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(await nearest(path));
  const free = bavail * bsize;
  const found = `${(free / 1024 ** 3).toFixed(1)} GiB free for ${path}`;
  if (free >= FREE_BYTES_WANTED) return ok('Disk', found);
  const remedy = 'Free some space, or choose another --data.';
  return free >= FREE_BYTES_NEEDED ? warning('Disk', found, remedy) : problem('Disk', found, remedy);
}

async function fsync(path: string): Promise<Finding> {
  const parent = await nearest(path);
  const directory = await mkdtemp(join(parent, '.ims-fsync-'));
  try {
    const file = await open(join(directory, 'probe'), 'w');
    try {
      const times: number[] = [];
      for (let i = 0; i < 5; i++) {
        await file.write(Buffer.alloc(8192, i), 0, 8192, i * 8192);
        const began = performance.now();
        await file.sync();
        times.push(performance.now() - began);
      }
      const median = times.toSorted((a, b) => a - b)[2] ?? 0;
      const found = `fsync takes ${median.toFixed(1)} ms`;
      return median <= FSYNC_WARNING_MS
        ? ok('Disk latency', found)
        : warning('Disk latency', found, 'A commit waits for one: choose a --data on a faster disk.');
    } finally {
      await file.close();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function openFiles(): Promise<Finding> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const soft = /^Max open files\s+(\S+)/m.exec(limits)?.[1];
  if (soft === undefined) return ok('Open files', 'limit unknown on this system');
  return soft === 'unlimited' || Number(soft) >= OPEN_FILES_WANTED
    ? ok('Open files', `limit ${soft}`)
    : warning('Open files', `limit ${soft}`, `Raise it: ulimit -n ${OPEN_FILES_WANTED}`);
}

async function ports(): Promise<Finding[]> {
  const wanted = [
    ['8080', '--port'],
    ['7233', '--temporal-port'],
    ['8233', '--ui-port'],
  ] as const;
  return Promise.all(
    wanted.map(async ([port, option]) =>
      (await isPortFree(Number(port)))
        ? ok(`Port ${port}`, 'free')
        : warning(
            `Port ${port}`,
            'taken',
            `Use "ims up ${option} 0" for any free one, or stop the program that listens there.`,
          ),
    ),
  );
}

async function orphans(
  directory: DataDirectory,
  state: StackState | undefined,
  supervisor: number | undefined,
): Promise<Finding> {
  const known = new Set(supervisor === undefined ? [] : Object.values(state?.services ?? {}).map(({ pid }) => pid));
  const strays: number[] = [];
  for (const entry of await readdir('/proc').catch(() => [])) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || known.has(pid) || pid === supervisor || pid === process.pid || pid === process.ppid)
      continue;
    if (!isProcessAlive(pid) || processStart(pid) === undefined) continue;
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
    if (/^(postgres|temporal)\s*$/.test(name) && (await belongsTo(pid, directory.path))) strays.push(pid);
  }
  return strays.length === 0
    ? ok('Orphans', 'none')
    : problem(
        'Orphans',
        `processes ${strays.join(', ')} serve ${directory.path} without a supervisor`,
        `"ims down --data ${directory.path}"`,
      );
}

async function clock(state: StackState): Promise<Finding> {
  return withDatabase(state, async (db) => {
    const { rows } = await sql<{ now: Date }>`select clock_timestamp() as now`.execute(db);
    const driftMs = Math.abs((rows[0]?.now.getTime() ?? 0) - systemClock.now().getTime());
    const found = `${driftMs} ms from the clock of Postgres`;
    return driftMs <= CLOCK_WARNING_MS ? ok('Clock', found) : warning('Clock', found, 'Let both keep time by NTP.');
  });
}

async function schema(state: StackState): Promise<Finding> {
  return withDatabase(state, async (db) => {
    const { rows } = await sql<{ tables: number }>`
      select count(*)::int as tables from information_schema.tables where table_schema = 'ims'`.execute(db);
    const tables = rows[0]?.tables ?? 0;
    return tables > 0
      ? ok('Schema', `${tables} tables that the service may use`)
      : problem('Schema', 'no tables', '"ims migrate", or start again with "ims up"');
  });
}

async function chain(state: StackState): Promise<Finding> {
  return withDatabase(state, async (db) => {
    const page = await readAll(db, undefined, 1);
    const { rows } = await sql<{ streams: number }>`select count(*)::int as streams from stream_head`.execute(db);
    const streams = rows[0]?.streams ?? 0;
    return page.events.length > 0 || streams === 0
      ? ok('Event chain', `${streams} streams`)
      : problem('Event chain', `${streams} stream heads and no event`, 'Restore the database: events are missing.');
  });
}

async function gateway(state: StackState): Promise<Finding> {
  const answer = await fetch(`${state.apiUrl}/readyz`, { signal: AbortSignal.timeout(5_000) });
  return answer.ok
    ? ok('Gateway', `${state.apiUrl} is ready`)
    : problem('Gateway', `${state.apiUrl} answers ${answer.status}`, `"ims logs gateway --data ${state.dataDir}"`);
}

async function withDatabase<T>(state: StackState, work: (db: ReturnType<typeof connect>) => Promise<T>): Promise<T> {
  const db = connect(state.databaseUrl, { poolSize: 1 });
  try {
    return await work(db);
  } finally {
    await db.destroy();
  }
}

/** The nearest directory on the way up that exists: what a directory to be made will lie on. */
async function nearest(path: string): Promise<string> {
  for (let at = resolve(path); ; at = dirname(at)) {
    if (await statfs(at).catch(() => undefined)) return at;
    if (at === dirname(at)) return tmpdir();
  }
}

function firstLine(error: unknown): string {
  const text = errorMessage(error);
  return text.split('\n').find((line) => line.startsWith('bwrap')) ?? text.split('\n')[0] ?? text;
}

const ok = (check: string, found: string): Finding => ({ check, verdict: 'ok', found });
const warning = (check: string, found: string, remedy: string): Finding => ({
  check,
  verdict: 'warning',
  found,
  remedy,
});
const problem = (check: string, found: string, remedy: string): Finding => ({
  check,
  verdict: 'problem',
  found,
  remedy,
});
