import { Connection } from '@temporalio/client';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { EmbeddedError } from './embedded-error';
import { freePort, isPortFree } from './free-port';
import { commandLine, isProcessAlive } from './process-table';
import { ServerProcess } from './server-process';
import { installTemporalBinary } from './temporal-binary';
import { StopWaiting, waitFor } from './wait-for';

const HOST = '127.0.0.1';

// Up in about a second on an idle machine; a loaded one with a large database file needs many times that.
const READY_DEADLINE_MS = 60_000;

// Another process may take a port between our look and the server's bind.
const START_ATTEMPTS = 3;

export interface TemporalOptions {
  /** Database file, kept when the server stops; everything is in memory and lost at the end when left out. */
  dbFile?: string;
  /** Loopback port of the gRPC interface; a free one when left out. */
  port?: number;
  /** Loopback port of the Web UI, `'free'` for any free one; no Web UI when left out. */
  uiPort?: number | 'free';
  /** The binary; found or installed when left out. */
  binary?: string;
  logFile: string;
}

export interface TemporalServer {
  /** `host:port` of the gRPC interface. */
  address: string;
  /** Base address of the Web UI, undefined without one. */
  uiUrl: string | undefined;
  namespace: 'default';
  pid: number;
  /** Settles when the server ends, asked or not. */
  exited: Promise<unknown>;
  stop(): Promise<void>;
}

/**
 * Starts the Temporal CLI's server on loopback and waits until its namespace `default` can be used.
 *
 * @example const temporal = await startTemporal({ dbFile: '.data/temporal.db', uiPort: 'free', logFile: '.data/temporal.log' });
 * @throws EmbeddedError BINARY_MISSING, DATA_DIRECTORY_IN_USE, PORT_TAKEN or START_FAILED
 */
export async function startTemporal(options: TemporalOptions): Promise<TemporalServer> {
  const binary = options.binary ?? (await installTemporalBinary()).path;
  const uiPort = options.uiPort === 'free' ? undefined : options.uiPort;
  for (const port of [options.port, uiPort]) {
    if (port !== undefined && !(await isPortFree(port))) throw portTaken(port);
  }
  if (options.dbFile !== undefined) {
    await mkdir(dirname(resolve(options.dbFile)), { recursive: true });
    await refuseLivingServer(resolve(options.dbFile));
  }
  for (let attempt = 1; ; attempt++) {
    try {
      return await launch(binary, options);
    } catch (error) {
      const mayPass = error instanceof EmbeddedError && error.code === 'PORT_TAKEN';
      if (!mayPass || attempt === START_ATTEMPTS || (options.port !== undefined && uiPort !== undefined)) throw error;
    }
  }
}

async function launch(binary: string, options: TemporalOptions): Promise<TemporalServer> {
  const port = options.port ?? (await freePort());
  const uiPort = options.uiPort === 'free' ? await freePort() : options.uiPort;
  const dbFile = options.dbFile === undefined ? undefined : resolve(options.dbFile);
  const server = await ServerProcess.start({
    name: 'Temporal',
    command: binary,
    args: [
      ...['server', 'start-dev', '--ip', HOST, '--port', String(port), '--log-level', 'warn'],
      ...(uiPort === undefined ? ['--headless'] : ['--ui-ip', HOST, '--ui-port', String(uiPort)]),
      ...(dbFile === undefined ? [] : ['--db-filename', dbFile, ...SQLITE_PRAGMAS]),
      ...Object.entries(ENGINE_SETTINGS).flatMap(([name, value]) => ['--dynamic-config-value', `${name}=${value}`]),
    ],
    logFile: options.logFile,
    stop: [{ signal: 'SIGTERM', graceMs: 10_000 }],
    onParentDeath: 'SIGTERM',
  });
  const lockFile = dbFile === undefined ? undefined : `${dbFile}.pid`;
  const stop = async (): Promise<void> => {
    await server.stop();
    if (lockFile !== undefined) await rm(lockFile, { force: true });
  };
  const address = `${HOST}:${port}`;
  try {
    if (lockFile !== undefined) await writeFile(lockFile, `${server.pid}\n`);
    await waitFor(
      async () => {
        if (!server.isRunning) throw new StopWaiting(await startFailure(server, [port, uiPort]));
        await useNamespace(address);
        return true;
      },
      { deadlineMs: READY_DEADLINE_MS, what: `Temporal on ${address} to serve its namespace`, everyMs: 100 },
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    address,
    uiUrl: uiPort === undefined ? undefined : `http://${HOST}:${uiPort}`,
    namespace: 'default',
    pid: server.pid,
    exited: server.exited,
    stop,
  };
}

/**
 * Settings of the server, the same as infra/temporal/dynamic-config.yaml has for a cluster. Left alone, each history shard looks for new tasks 20
 * times a second at most: from the fourth job on, every task of a workflow then waits for the next of these looks, 50 ms however idle the machine is.
 */
const ENGINE_SETTINGS = {
  'history.transferProcessorMaxPollRPS': 2000,
  'history.timerProcessorMaxPollRPS': 2000,
} as const;

// Worth 2.4 to 2.6 times the activities per second. They may lose the last commits on a power failure, which is allowed: Postgres is the
// truth, and open jobs are started again from it.
const SQLITE_PRAGMAS = ['--sqlite-pragma', 'journal_mode=WAL', '--sqlite-pragma', 'synchronous=NORMAL'];

async function useNamespace(address: string): Promise<void> {
  const connection = await Connection.connect({ address, connectTimeout: '2s' });
  try {
    await connection.workflowService.describeNamespace({ namespace: 'default' });
  } finally {
    await connection.close();
  }
}

async function refuseLivingServer(dbFile: string): Promise<void> {
  const pid = Number(await readFile(`${dbFile}.pid`, 'utf8').catch(() => ''));
  if (!Number.isInteger(pid) || pid <= 0 || !isProcessAlive(pid)) return;
  const words = commandLine(pid);
  // A number that meanwhile belongs to another program says nothing about our file.
  if (words !== undefined && !words.includes(dbFile)) return;
  throw new EmbeddedError(
    'DATA_DIRECTORY_IN_USE',
    `start Temporal: process ${pid} already serves ${dbFile}`,
    `Stop it first ("ims down", or "kill ${pid}"), or choose another data directory.`,
  );
}

async function startFailure(server: ServerProcess, ports: (number | undefined)[]): Promise<Error> {
  const tail = await server.logTail();
  if (/address already in use|can't set frontend port|can't set UI port/i.test(tail)) {
    return portTaken(ports.find((port) => port !== undefined && tail.includes(String(port))) ?? ports[0] ?? 0);
  }
  return new EmbeddedError(
    'START_FAILED',
    `start Temporal: it ended at once. Its last words:\n${tail}`,
    'Check that the disk has room and that the database file belongs to you.',
  );
}

function portTaken(port: number): EmbeddedError {
  return new EmbeddedError(
    'PORT_TAKEN',
    `start Temporal: port ${port} is taken`,
    'Stop the program that listens there, or choose another port.',
  );
}
