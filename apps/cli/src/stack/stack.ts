import { parseRootKey, platformSeed, seedIdentity } from '@ims/access';
import { connect, migrateToLatest, systemClock } from '@ims/db';
import {
  EmbeddedError,
  errorMessage,
  freePort,
  isProcessAlive,
  isPortFree,
  installTemporalBinary,
  PROCESS_MEMORY,
  provisionDatabase,
  ServerProcess,
  startPostgres,
  startTemporal,
  StopWaiting,
  waitFor,
} from '@ims/embedded';
import { access, mkdir, open, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { CliError } from '../cli-error';
import { type CliConfig, readConfig } from '../config';
import { findProgram } from '../system/find-program';
import { belongsTo } from '../system/process-owner';
import { DataDirectory, type StackState } from './data-directory';
import { type RunningPart, SupervisedService } from './supervised-service';

// src/stack and dist/stack lie equally deep below the workspace.
const WORKSPACE = resolve(__dirname, '../../../..');
const WORKFLOW_BUNDLE = join(WORKSPACE, 'workflows', 'dist-bundle', 'workflows.js');
// Metadata alone: nothing is fetched by whoever only starts the service.
const CATALOGUE = join(WORKSPACE, 'infra', 'catalogue.yaml');
const DATABASE = 'ims';
const ACCOUNT = 'ims';
const HOST = '127.0.0.1';

// A worker without a bundle makes one at its start, which takes many seconds on a busy machine.
const PROCESS_READY_MS = 90_000;
// A worker ends its transfers within 20 s.
const ORPHAN_MS = 30_000;

export interface StackOptions {
  dataDir: string;
  region?: string;
  /** Loopback ports; a free one where left out. */
  gatewayPort?: number;
  temporalPort?: number;
  temporalUiPort?: number;
  /** Ingest threads of the worker; one per core when left out. */
  workerThreads?: number;
  logLevel?: string;
  /** Told when a part is up. */
  onProgress?(part: string, detail: string, tookMs: number): void;
  /** Told when a part died or could not be started again. */
  onTrouble?(message: string): void;
  /** Aborting it while the service comes up stops what runs already and makes the start fail. */
  signal?: AbortSignal;
}

/** The whole service on one machine: Postgres, Temporal, one gateway and one worker, each restarted when it dies. */
export class Stack {
  private readonly services: SupervisedService[] = [];
  private readonly undo: (() => Promise<void>)[] = [];
  private writing: Promise<void> = Promise.resolve();
  private stopping: Promise<void> | undefined;
  private facts: Omit<StackState, 'services'> | undefined;

  private constructor(
    private readonly directory: DataDirectory,
    private readonly options: StackOptions,
    private readonly config: CliConfig,
  ) {}

  /**
   * Starts everything, or nothing: when one part fails, those that run are stopped again and the failure is thrown.
   *
   * @example
   * const stack = await Stack.start({ dataDir: '/tmp/ims' });
   * await fetch(`${stack.state.apiUrl}/readyz`);
   * await stack.stop();
   */
  static async start(options: StackOptions): Promise<Stack> {
    const stack = new Stack(new DataDirectory(options.dataDir), options, readConfig());
    const interrupt = (): void => void stack.stop().catch(() => undefined);
    options.signal?.addEventListener('abort', interrupt, { once: true });
    try {
      await stack.startAll();
      return stack;
    } catch (error) {
      await stack.stop();
      // An interrupted start may have begun something after the stop had passed by.
      await stack.stopAll();
      // What a part says when its database is stopped under it is not why the start failed.
      throw options.signal?.aborted ? options.signal.reason : error;
    } finally {
      options.signal?.removeEventListener('abort', interrupt);
    }
  }

  /** Addresses, credentials and process ids. */
  get state(): StackState {
    if (!this.facts) throw new Error('the service is not up yet');
    const services = this.services.map(
      (service) =>
        [
          service.name,
          { pid: service.pid, restarts: service.restarts, log: this.directory.log(service.name) },
        ] as const,
    );
    return { ...this.facts, services: Object.fromEntries(services) };
  }

  /** Stops everything in the reverse order; requests and transfers under way get time to end. */
  stop(): Promise<void> {
    return (this.stopping ??= this.stopAll());
  }

  private async stopAll(): Promise<void> {
    const failures: unknown[] = [];
    for (let undo = this.undo.pop(); undo; undo = this.undo.pop()) {
      await undo().catch((error: unknown) => failures.push(error));
    }
    await this.writing;
    if (failures.length > 0) throw new AggregateError(failures, 'stop the service');
  }

  private async startAll(): Promise<void> {
    await requirePrograms(this.config);
    for (const port of [this.options.gatewayPort, this.options.temporalPort, this.options.temporalUiPort]) {
      if (port !== undefined) await requireFreePort(port);
    }
    await this.directory.prepare();
    await this.directory.lock();
    this.undo.push(() => this.directory.unlock());
    // A state file that is still there belongs to a supervisor that was killed.
    await untilEnded(await this.directory.readState(), this.directory.path);
    await this.directory.removeState();
    this.undo.push(() => this.directory.removeState());

    const secrets = await this.directory.secrets();
    const region = this.options.region ?? this.config.region;
    const { databaseUrl } = await this.startPostgres(secrets);
    const temporal = await this.startTemporal();

    const began = performance.now();
    const db = connect(databaseUrl, { poolSize: 1 });
    const seeded = (async () => {
      const rootKey = parseRootKey(secrets.rootKey);
      const user = await seedIdentity(db, rootKey, {
        accountName: ACCOUNT,
        projectName: region,
        userName: secrets.userName,
        password: secrets.userPassword,
        accessKey: { access: secrets.access, secret: secrets.secret },
      });
      // Whoever runs it on their machine is its operator too.
      return { user, operator: await seedIdentity(db, rootKey, platformSeed(region, secrets.userPassword)) };
    })();
    const { user: identity, operator } = await seeded.finally(() => db.destroy());
    this.progress('Account', `${ACCOUNT}, project ${identity.projectId}`, began);

    const gatewayPort = this.options.gatewayPort ?? (await freePort());
    const apiUrl = `http://${HOST}:${gatewayPort}`;
    await mkdir(join(this.directory.buckets, 'images'), { recursive: true });
    const peers = await this.directory.peers();
    const environment = {
      ...PROCESS_MEMORY,
      IMS_FIRST_CATALOGUE: CATALOGUE,
      ...this.config.inherited,
      IMS_REGION: region,
      IMS_DATABASE_URL: databaseUrl,
      IMS_TEMPORAL_ADDRESS: temporal.address,
      IMS_TEMPORAL_NAMESPACE: temporal.namespace,
      IMS_TEMPORAL_UI_URL: temporal.uiUrl,
      IMS_GATEWAY_HOST: HOST,
      IMS_GATEWAY_PORT: String(gatewayPort),
      IMS_PUBLIC_URL: apiUrl,
      IMS_STORE_DIR: this.directory.store,
      IMS_CLOUD_DIR: this.directory.cloud,
      IMS_STAGING_DIR: this.directory.staging,
      IMS_BUCKET_DRIVER: 'directory',
      IMS_BUCKET_DIR: this.directory.buckets,
      IMS_ROOT_KEY: secrets.rootKey,
      ...(peers === undefined ? {} : { IMS_PEERS: peers }),
      IMS_LOG_LEVEL: this.options.logLevel ?? this.config.logLevel,
      ...(this.options.workerThreads === undefined ? {} : { IMS_WORKER_THREADS: String(this.options.workerThreads) }),
      ...((await exists(WORKFLOW_BUNDLE)) ? { IMS_WORKFLOW_BUNDLE: WORKFLOW_BUNDLE } : {}),
    };
    // The two do not need each other, so they start side by side.
    const parts = await Promise.allSettled([
      this.supervise('gateway', apiUrl, () => this.launchProcess('gateway', environment, gatewayIsReady(apiUrl))),
      this.supervise('worker', `region ${region}`, () => this.launchProcess('worker', environment, workerIsReady)),
    ]);
    const failed = parts.find((part) => part.status === 'rejected');
    if (failed) throw failed.reason;

    this.facts = {
      version: 1,
      supervisorPid: process.pid,
      startedAt: systemClock.now().toISOString(),
      dataDir: this.directory.path,
      region,
      apiUrl,
      temporalAddress: temporal.address,
      temporalUiUrl: temporal.uiUrl,
      databaseUrl,
      bucketDir: this.directory.buckets,
      accountName: ACCOUNT,
      userName: secrets.userName,
      userPassword: secrets.userPassword,
      projectId: identity.projectId,
      access: identity.access,
      secret: identity.secret,
      operator: { access: operator.access, secret: operator.secret },
    };
    await this.directory.writeState(this.state);
  }

  private async startPostgres(secrets: {
    superuserPassword: string;
    ownerPassword: string;
    servicePassword: string;
  }): Promise<{ databaseUrl: string }> {
    let port: number | undefined;
    let adminUrl = '';
    await this.supervise('postgres', `data in ${this.directory.postgres}`, async () => {
      const server = await startPostgres({
        dataDir: this.directory.postgres,
        superuserPassword: secrets.superuserPassword,
        logFile: this.directory.log('postgres'),
        // Clients keep the address they were told, so a restarted server comes back there.
        ...(port === undefined ? {} : { port }),
      });
      port = server.port;
      adminUrl = server.adminUrl;
      return server;
    });
    const began = performance.now();
    const { ownerUrl, serviceUrl } = await provisionDatabase({ adminUrl, database: DATABASE, ...secrets });
    const migrations = await migrateToLatest(ownerUrl);
    this.progress('Schema', migrations.length === 0 ? 'up to date' : `${migrations.length} migrations`, began);
    return { databaseUrl: serviceUrl };
  }

  private async startTemporal(): Promise<{ address: string; namespace: string; uiUrl: string }> {
    const { path: binary } = await installTemporalBinary();
    const port = this.options.temporalPort ?? (await freePort());
    const uiPort = this.options.temporalUiPort ?? (await freePort());
    const uiUrl = `http://${HOST}:${uiPort}`;
    await this.supervise('temporal', uiUrl, () =>
      startTemporal({
        dbFile: this.directory.temporalDb,
        port,
        uiPort,
        binary,
        logFile: this.directory.log('temporal'),
      }),
    );
    return { address: `${HOST}:${port}`, namespace: 'default', uiUrl };
  }

  private async supervise(name: string, detail: string, launch: () => Promise<RunningPart>): Promise<void> {
    const began = performance.now();
    const service = await SupervisedService.start({
      name,
      launch,
      onChange: () => this.saveState(),
      onTrouble: (message) => this.options.onTrouble?.(message),
    });
    this.services.push(service);
    this.undo.push(() => service.stop());
    this.options.signal?.throwIfAborted();
    this.progress(name.charAt(0).toUpperCase() + name.slice(1), detail, began);
  }

  private async launchProcess(
    app: 'gateway' | 'worker',
    env: Record<string, string>,
    isReady: (log: string) => Promise<boolean>,
  ): Promise<RunningPart> {
    const logFile = this.directory.log(app);
    const logStart = await sizeOf(logFile);
    const server = await ServerProcess.start({
      name: app,
      command: process.execPath,
      args: [join(WORKSPACE, 'apps', app, 'dist', 'main.js')],
      cwd: this.directory.path,
      env,
      logFile,
      // Above the 20 s in which a worker ends its transfers by itself.
      stop: [{ signal: 'SIGTERM', graceMs: 25_000 }],
      onParentDeath: 'SIGTERM',
    });
    try {
      await waitFor(
        async () => {
          // Its database is on its way out, so it would never become ready.
          if (this.stopping)
            throw new StopWaiting(new CliError(`start the ${app}: stopped`, 'Start the service again.'));
          if (!server.isRunning) {
            throw new StopWaiting(
              new CliError(
                `start the ${app}: it ended at once. Its last words:\n${await server.logTail(8)}`,
                `The whole log is ${logFile}.`,
              ),
            );
          }
          return isReady((await readFile(logFile)).subarray(logStart).toString());
        },
        { deadlineMs: PROCESS_READY_MS, what: `the ${app} to be ready (log: ${logFile})`, everyMs: 100 },
      );
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  private saveState(): void {
    // One after the other, so that the newest state is the one that stays.
    this.writing = this.writing.then(async () => {
      if (this.facts && !this.stopping) await this.directory.writeState(this.state);
    });
  }

  private progress(part: string, detail: string, began: number): void {
    this.options.onProgress?.(part, detail, Math.round(performance.now() - began));
  }
}

/** Parts of a killed supervisor have been told to end by the kernel and may need a moment for it. */
async function untilEnded(state: StackState | undefined, dataDir: string): Promise<void> {
  for (const [name, { pid }] of Object.entries(state?.services ?? {})) {
    if (!isProcessAlive(pid) || !(await belongsTo(pid, dataDir))) continue;
    await waitFor(() => !isProcessAlive(pid), { deadlineMs: ORPHAN_MS, what: `${name} (process ${pid}) to end` }).catch(
      (error: unknown) => {
        throw new CliError(errorMessage(error), `Stop it with "ims down --data ${dataDir}".`);
      },
    );
  }
}

async function requirePrograms(config: CliConfig): Promise<void> {
  const needed = { 'qemu-img': 'qemu-utils', 'qemu-nbd': 'qemu-utils', bwrap: 'bubblewrap' };
  for (const [program, debianPackage] of Object.entries(needed)) {
    if (await findProgram(program, config.inherited.PATH)) continue;
    throw new CliError(
      `start the service: ${program} is not installed`,
      `Run "node bootstrap.mjs", or install it yourself: apt-get install ${debianPackage}.`,
    );
  }
}

async function requireFreePort(port: number): Promise<void> {
  if (await isPortFree(port)) return;
  throw new EmbeddedError(
    'PORT_TAKEN',
    `start the service: port ${port} is taken`,
    'Stop the program that listens there, or choose other ports: --port, --temporal-port, --ui-port (0 is any free one).',
  );
}

function gatewayIsReady(apiUrl: string): () => Promise<boolean> {
  return async () => (await fetch(`${apiUrl}/readyz`, { signal: AbortSignal.timeout(2_000) })).ok;
}

async function workerIsReady(log: string): Promise<boolean> {
  return log.includes('"worker ready"');
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function sizeOf(path: string): Promise<number> {
  const file = await open(path, 'a');
  try {
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}
