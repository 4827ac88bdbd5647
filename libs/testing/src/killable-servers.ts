import { connect, type Database, migrateToLatest } from '@ims/db';
import {
  freePort,
  openForServers,
  type PostgresServer,
  provisionDatabase,
  startPostgres,
  startTemporal,
  type TemporalServer,
  waitFor,
} from '@ims/embedded';
import type { Kysely } from 'kysely';
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestDatabase } from './test-database';

// The backends of a killed postmaster notice its death by themselves and let go of its memory; until then a new one refuses to start.
const RESTART_DEADLINE_MS = 60_000;
const DATABASE = 'ims';

/** A Postgres cluster of one test's own, to be killed at will. It waits for its log at commit, so nothing answered may be lost by a kill. */
export class KillablePostgres implements TestDatabase {
  readonly db: Kysely<Database>;

  private constructor(
    private readonly start: () => Promise<PostgresServer>,
    private server: PostgresServer,
    readonly adminUrl: string,
    readonly url: string,
    readonly ownerUrl: string,
  ) {
    this.db = connect(url, { poolSize: 10 });
  }

  static async start(directory: string): Promise<KillablePostgres> {
    const [superuserPassword, ownerPassword, servicePassword] = [password(), password(), password()];
    const port = await freePort();
    await openForServers(directory);
    const start = (): Promise<PostgresServer> =>
      startPostgres({
        dataDir: join(directory, 'postgres'),
        port,
        superuserPassword,
        // A killed process loses nothing that it gave to the kernel; only a machine without power would.
        settings: { fsync: 'off', full_page_writes: 'off' },
      });
    const server = await start();
    const urls = await provisionDatabase({
      adminUrl: server.adminUrl,
      database: DATABASE,
      ownerPassword,
      servicePassword,
    });
    await migrateToLatest(urls.ownerUrl);
    return new KillablePostgres(start, server, server.adminUrl, urls.serviceUrl, urls.ownerUrl);
  }

  /** SIGKILL to the postmaster; resolves when it is gone. */
  async kill(): Promise<void> {
    process.kill(this.server.pid, 'SIGKILL');
    await this.server.exited;
  }

  /** Starts it again on the same port and data. */
  async run(): Promise<void> {
    this.server = await waitFor(() => this.start(), {
      deadlineMs: RESTART_DEADLINE_MS,
      what: 'Postgres starts again after its kill',
    });
  }

  async drop(): Promise<void> {
    await this.db.destroy();
    await this.server.stop();
  }
}

/** A Temporal server of one test's own, with its database in a file, to be killed at will. */
export class KillableTemporal {
  private constructor(
    private readonly options: { dbFile: string; port: number; logFile: string },
    private server: TemporalServer,
  ) {}

  static async start(directory: string): Promise<KillableTemporal> {
    const options = {
      dbFile: join(directory, 'temporal.db'),
      port: await freePort(),
      logFile: join(directory, 'temporal.log'),
    };
    return new KillableTemporal(options, await startTemporal(options));
  }

  get address(): string {
    return this.server.address;
  }

  get namespace(): string {
    return this.server.namespace;
  }

  async kill(): Promise<void> {
    process.kill(this.server.pid, 'SIGKILL');
    await this.server.exited;
  }

  async run(): Promise<void> {
    this.server = await waitFor(() => startTemporal(this.options), {
      deadlineMs: RESTART_DEADLINE_MS,
      what: 'Temporal starts again after its kill',
    });
  }

  /** Of a server that does not run: it forgets every execution. */
  async deleteDatabase(): Promise<void> {
    for (const suffix of ['', '-wal', '-shm']) await rm(`${this.options.dbFile}${suffix}`, { force: true });
  }

  async stop(): Promise<void> {
    await this.server.stop();
  }
}

const password = (): string => randomBytes(16).toString('hex');
