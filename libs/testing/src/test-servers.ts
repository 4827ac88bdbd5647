import {
  openForServers,
  type PostgresServer,
  provisionDatabase,
  startPostgres,
  startTemporal,
  type TemporalServer,
} from '@ims/embedded';
import { migrateToLatest } from '@ims/db';
import { bundleWorkflowCode } from '@temporalio/worker';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDurabilityAsked } from './config';
import { removeLeftovers, RUN_DIRECTORY_PREFIX } from './leftovers';
import { type ServerAnswers, type ServerName, SERVER_NAMES } from './test-server-protocol';

const TEMPLATE = 'ims_template';

interface StartedPostgres {
  server: PostgresServer;
  answer: ServerAnswers['postgres'];
}

/**
 * What the tests of one Jest run share: a Postgres cluster for each Jest worker with a migrated template database, a Temporal server and the
 * workflow bundle. Each is made when the first test asks for it, in the process that outlives all tests, so a run of pure tests starts nothing.
 */
export class TestServers {
  /**
   * By Jest worker. The oldest open transaction of a cluster holds the order of the log back in all of its databases: a test that stops a process
   * in the middle of one would delay the trail of another file that runs at the same time.
   */
  private readonly postgres = new Map<string, Promise<StartedPostgres>>();
  private temporal: Promise<TemporalServer> | undefined;
  private bundle: Promise<string> | undefined;

  private constructor(
    private readonly directory: string,
    readonly socketPath: string,
    private readonly listener: Server,
  ) {}

  static async start(): Promise<TestServers> {
    await removeLeftovers(tmpdir());
    // The process id in the name tells a later run whether the owner of this directory still lives.
    const directory = await mkdtemp(join(tmpdir(), `${RUN_DIRECTORY_PREFIX}${process.pid}-`));
    await openForServers(directory);
    await mkdir(join(directory, 'files'));
    const listener = createServer();
    const servers = new TestServers(directory, join(directory, 'servers.sock'), listener);
    listener.on('request', (request, response) => {
      const { pathname, searchParams } = new URL(request.url ?? '/', 'http://test-servers');
      servers.answer(pathname.slice(1), searchParams.get('worker') ?? '').then(
        (answer) => response.end(JSON.stringify(answer)),
        (error: unknown) => {
          response.statusCode = 500;
          response.end(error instanceof Error ? (error.stack ?? error.message) : String(error));
        },
      );
    });
    await new Promise<void>((resolve, reject) => {
      listener.once('error', reject);
      listener.listen(servers.socketPath, resolve);
    });
    return servers;
  }

  async stop(): Promise<void> {
    const listenerClosed = new Promise<void>((resolve) => {
      this.listener.close(() => resolve());
    });
    this.listener.closeAllConnections();
    // A server that never came up has told so to the test that asked for it.
    await Promise.allSettled([
      listenerClosed,
      ...[...this.postgres.values()].map((postgres) => postgres.then(({ server }) => server.stop())),
      this.temporal?.then((server) => server.stop()),
    ]);
    await rm(this.directory, { recursive: true, force: true });
  }

  private async answer(name: string, worker: string): Promise<ServerAnswers[ServerName]> {
    const known = SERVER_NAMES.find((candidate) => candidate === name);
    switch (known) {
      case 'postgres':
        return (await this.postgresOf(worker)).answer;
      case 'temporal': {
        const { address, namespace } = await (this.temporal ??= startTemporal({
          logFile: join(this.directory, 'temporal.log'),
        }));
        return { address, namespace };
      }
      case 'bundle':
        return { path: await (this.bundle ??= this.bundleWorkflows()) };
      case 'files':
        return { path: join(this.directory, 'files') };
      case undefined:
        throw new Error(`no server is named ${JSON.stringify(name)}`);
    }
  }

  private postgresOf(worker: string): Promise<StartedPostgres> {
    const started = this.postgres.get(worker) ?? this.startPostgres(`postgres-${this.postgres.size}`);
    this.postgres.set(worker, started);
    return started;
  }

  private async startPostgres(name: string): Promise<StartedPostgres> {
    const [superuserPassword, ownerPassword, servicePassword] = [password(), password(), password()];
    const server = await startPostgres({
      dataDir: join(this.directory, name),
      superuserPassword,
      // The cluster is thrown away: what a power failure would do to it does not matter. A bench measures with durability.
      settings: isDurabilityAsked() ? {} : { fsync: 'off', full_page_writes: 'off', synchronous_commit: 'off' },
    });
    try {
      const { ownerUrl } = await provisionDatabase({
        adminUrl: server.adminUrl,
        database: TEMPLATE,
        ownerPassword,
        servicePassword,
      });
      await migrateToLatest(ownerUrl);
    } catch (error) {
      await server.stop();
      throw error;
    }
    return { server, answer: { adminUrl: server.adminUrl, template: TEMPLATE, ownerPassword, servicePassword } };
  }

  private async bundleWorkflows(): Promise<string> {
    const { code } = await bundleWorkflowCode({
      workflowsPath: require.resolve('@ims/workflows'),
      // The bundler's own report of every module is noise between test results; failures reject.
      logger: { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} },
    });
    const path = join(this.directory, 'workflows.js');
    await writeFile(path, code);
    return path;
  }
}

function password(): string {
  return randomBytes(16).toString('hex');
}
