import { parseRootKey, seedIdentity, type SeededIdentity, signRequest } from '@ims/access';
import { systemClock } from '@ims/db';
import { PROCESS_MEMORY, freePort, waitFor } from '@ims/embedded';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createHash, randomBytes } from 'node:crypto';
import { CuttableLink } from './cuttable-link';
import { temporaryDirectory } from './temporary-directory';
import { testDatabase, type TestDatabase } from './test-database';
import { testTemporal, workflowBundlePath } from './test-temporal';

const WORKSPACE = resolve(__dirname, '../../..');
// Compilation is done by then; what remains is connecting and loading a few hundred modules on a busy machine.
const READY_DEADLINE_MS = 60_000;

// A part that was told to end gets what supervisors give (30 s), then it is killed.
const END_DEADLINE_MS = 30_000;

// Jobs of tests take a second or two; the rest is room for a busy machine.
const JOB_DEADLINE_MS = 60_000;

/** A second worker stands by while the first one is paused or late. */
export type Part = 'gateway' | 'worker' | 'second-worker';

const PROGRAM: Record<Part, string> = { gateway: 'gateway', worker: 'worker', 'second-worker': 'worker' };

export interface TestStackOptions {
  /** Threads of each worker; 2 when left out. */
  threads?: number;
  env?: Record<string, string>;
  /** The stack's own database, when it is to be killed; one of the run's Postgres when left out. The stack removes it at its end. */
  database?: TestDatabase;
  /** Name of the region, and port of its gateway; of its own choice when left out. */
  region?: string;
  port?: number;
  /** The stack's own engine, when it is to be killed; the run's Temporal when left out. */
  temporal?: { address: string; namespace: string };
}

/** What tests look at of a job document (ims-api 10.2). */
export interface EndedJob {
  job_id: string;
  status: 'SUCCESS' | 'FAIL';
  error_code: string | null;
  fail_reason: string | null;
  entities: { image_id: string; server_id?: string };
}

/** A whole region as it runs in earnest: gateway and worker as processes of their own, on the run's Postgres and Temporal. */
export class TestStack {
  readonly #children = new Map<Part, ChildProcess>();

  private constructor(
    readonly region: string,
    readonly database: TestDatabase,
    readonly directory: string,
    readonly url: string,
    readonly identity: SeededIdentity & { userName: string; password: string; accountName: string },
    private readonly env: Record<string, string>,
  ) {}

  static async start(options: TestStackOptions = {}): Promise<TestStack> {
    const database = options.database ?? (await testDatabase());
    const temporal = options.temporal ?? (await testTemporal());
    const directory = await temporaryDirectory();
    const region = options.region ?? `r${randomBytes(4).toString('hex')}`;
    const rootKey = randomBytes(32).toString('hex');
    const port = options.port ?? (await freePort());
    const url = `http://127.0.0.1:${port}`;
    for (const name of ['store', 'buckets/images', 'log']) await mkdir(join(directory, name), { recursive: true });
    const credentials = { accountName: 'acme', userName: 'alice', password: 'correct horse battery staple' };
    const identity = await seedIdentity(database.db, parseRootKey(rootKey), { ...credentials, projectName: region });
    const stack = new TestStack(
      region,
      database,
      directory,
      url,
      { ...identity, ...credentials },
      {
        IMS_REGION: region,
        IMS_DATABASE_URL: database.url,
        IMS_TEMPORAL_ADDRESS: temporal.address,
        IMS_TEMPORAL_NAMESPACE: temporal.namespace,
        IMS_GATEWAY_HOST: '127.0.0.1',
        IMS_GATEWAY_PORT: String(port),
        IMS_PUBLIC_URL: url,
        IMS_STORE_DIR: join(directory, 'store'),
        IMS_CLOUD_DIR: join(directory, 'cloud'),
        IMS_STAGING_DIR: join(directory, 'staging'),
        IMS_BUCKET_DRIVER: 'directory',
        IMS_BUCKET_DIR: join(directory, 'buckets'),
        IMS_ROOT_KEY: rootKey,
        IMS_WORKER_THREADS: String(options.threads ?? 2),
        IMS_WORKFLOW_BUNDLE: await workflowBundlePath(),
        IMS_LOG_LEVEL: 'info',
        ...options.env,
      },
    );
    try {
      await Promise.all([stack.run('worker'), stack.run('gateway')]);
    } catch (err) {
      await stack.stop();
      throw err;
    }
    return stack;
  }

  /**
   * Two regions that know each other, over lines that can be cut; each keeps the options that it is given. The first one's line leads to the second.
   */
  static async startJoined(
    options: readonly [TestStackOptions, TestStackOptions],
  ): Promise<{ stacks: [TestStack, TestStack]; links: [CuttableLink, CuttableLink] }> {
    const [first, second] = [await freePort(), await freePort()];
    const names = ['first', 'second'].map((name) => `${name}-${randomBytes(4).toString('hex')}`);
    const secret = randomBytes(32).toString('hex');
    const links: [CuttableLink, CuttableLink] = [
      await CuttableLink.open({ host: '127.0.0.1', port: second }),
      await CuttableLink.open({ host: '127.0.0.1', port: first }),
    ];
    const startOne = (n: 0 | 1, port: number): Promise<TestStack> => {
      const peers = { [names[1 - n] ?? '']: { url: links[n].url, secret } };
      const env = { ...options[n].env, IMS_PEERS: JSON.stringify(peers) };
      return TestStack.start({ ...options[n], region: names[n] ?? '', port, env });
    };
    const started = await Promise.allSettled([startOne(0, first), startOne(1, second)]);
    const [here, there] = started.map((each) => (each.status === 'fulfilled' ? each.value : undefined));
    if (here !== undefined && there !== undefined) return { stacks: [here, there], links };
    await Promise.all([here?.stop(), there?.stop(), ...links.map((link) => link.close())]);
    throw new AggregateError(started.flatMap((each): unknown[] => (each.status === 'rejected' ? [each.reason] : [])));
  }

  get db() {
    return this.database.db;
  }

  get storeDirectory(): string {
    return join(this.directory, 'store');
  }

  get cloudDirectory(): string {
    return join(this.directory, 'cloud');
  }

  get bucketDirectory(): string {
    return join(this.directory, 'buckets', 'images');
  }

  logFile(part: Part): string {
    return join(this.directory, 'log', `${part}.log`);
  }

  pid(part: Part): number {
    const pid = this.#children.get(part)?.pid;
    if (pid === undefined) throw new Error(`${part} is not running`);
    return pid;
  }

  /** Whether a part that was started lives; a supervisor would start it again. */
  isAlive(part: Part): boolean {
    const child = this.#children.get(part);
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** Starts a part and waits until it is ready. `env` goes before the settings of the stack. */
  async run(part: Part, env: Record<string, string> = {}): Promise<void> {
    const log = await open(this.logFile(part), 'a');
    const child = spawn(process.execPath, [join(WORKSPACE, 'apps', PROGRAM[part], 'dist', 'main.js')], {
      env: { PATH: process.env['PATH'] ?? '', ...PROCESS_MEMORY, ...this.env, ...env },
      stdio: ['ignore', log.fd, log.fd],
    });
    await log.close();
    this.#children.set(part, child);
    await waitFor(() => this.#isReady(part, child), { deadlineMs: READY_DEADLINE_MS, what: `${part} is ready` });
  }

  async #isReady(part: Part, child: ChildProcess): Promise<boolean> {
    if (child.exitCode !== null) throw new Error(`${part} ended with ${child.exitCode}; see ${this.logFile(part)}`);
    if (part === 'gateway') {
      const answer = await fetch(`${this.url}/readyz`).catch(() => undefined);
      return answer?.status === 200;
    }
    const log = await open(this.logFile(part), 'r');
    try {
      const lines = (await log.readFile('utf8')).split('\n');
      return lines.some((line) => line.includes('worker ready') && line.includes(`"pid":${child.pid}`));
    } finally {
      await log.close();
    }
  }

  /** Ends a part by a signal and waits until it is gone. */
  async kill(part: Part, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#children.get(part);
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    const late = AbortSignal.timeout(END_DEADLINE_MS);
    const onLate = (): boolean => child.kill('SIGKILL');
    late.addEventListener('abort', onLate);
    await gone;
    late.removeEventListener('abort', onLate);
    // Whoever saw it go may have started the next one meanwhile.
    if (this.#children.get(part) === child) this.#children.delete(part);
  }

  /** Pauses a part, or lets it go on. It stays alive and keeps its connections. */
  signal(part: Part, signal: 'SIGSTOP' | 'SIGCONT'): void {
    process.kill(this.pid(part), signal);
  }

  async restart(part: Part): Promise<void> {
    await this.kill(part);
    await this.run(part);
  }

  /** Somebody else: an account of its own with a project of its own and every permission in it. */
  anotherAccount(accountName: string): Promise<SeededIdentity> {
    return seedIdentity(this.db, parseRootKey(this.env['IMS_ROOT_KEY'] ?? ''), {
      accountName,
      projectName: this.region,
      userName: 'mallory',
      password: 'another long passphrase',
    });
  }

  /** A request signed with the stack's key pair, or that of somebody else. */
  async call(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
    as: SeededIdentity = this.identity,
  ): Promise<{ status: number; headers: Headers; json: unknown; text: string }> {
    const answer = await this.#send(method, path, body, headers, as);
    const text = await answer.text();
    return { status: answer.status, headers: answer.headers, text, json: parse(text) };
  }

  /** The body of a signed GET; fails on any status but 200 and 206. */
  async download(path: string, range?: { offset: number; length: number }): Promise<Buffer> {
    const headers: Record<string, string> =
      range === undefined ? {} : { range: `bytes=${range.offset}-${range.offset + range.length - 1}` };
    const answer = await this.#send('GET', path, undefined, headers);
    if (answer.status !== 200 && answer.status !== 206) throw new Error(`GET ${path}: ${answer.status}`);
    return Buffer.from(await answer.arrayBuffer());
  }

  /** Sends the bytes of an image in one request. */
  upload(
    imageId: string,
    body: Uint8Array | AsyncIterable<Uint8Array>,
    more: Record<string, string> = {},
    signal?: AbortSignal,
  ): Promise<{ status: number; text: string }> {
    const headers = { 'content-type': 'application/octet-stream', ...more };
    return this.sendBytes('PUT', `/v2/images/${imageId}/file`, body, headers, signal);
  }

  /** A body as it is, signed without its hash as the SDKs do with streams. */
  async sendBytes(
    method: string,
    path: string,
    body: Uint8Array | AsyncIterable<Uint8Array>,
    more: Record<string, string>,
    signal?: AbortSignal,
  ): Promise<{ status: number; headers: Headers; text: string }> {
    const url = new URL(path, this.url);
    const answer = await fetch(url, {
      method,
      headers: this.#signed(method, url, '', { 'x-sdk-content-sha256': 'UNSIGNED-PAYLOAD', ...more }),
      body,
      // Wanted for a body that cannot be measured.
      duplex: 'half',
      ...(signal === undefined ? {} : { signal }),
    });
    return { status: answer.status, headers: answer.headers, text: await answer.text() };
  }

  /** Sends a call that starts a job and waits for the job's end; fails when the call is not accepted. */
  async runJob(path: string, body: object, deadlineMs = JOB_DEADLINE_MS): Promise<EndedJob> {
    const accepted = await this.call('POST', path, body);
    if (accepted.status !== 200) throw new Error(`POST ${path}: ${accepted.status} ${accepted.text}`);
    // Answers of the service under test, as its schemas have them: JobAccepted, then the job document.
    const { job_id: id } = accepted.json as { job_id: string };
    return waitFor(
      async () => {
        const job = (await this.call('GET', `/v1/${this.identity.projectId}/jobs/${id}`)).json as EndedJob;
        return job.status === 'SUCCESS' || job.status === 'FAIL' ? job : undefined;
      },
      { deadlineMs, what: `job ${id} ends` },
    );
  }

  /** SHA-256 of an image's disk as its raw download has it, in hex. */
  async guestSha256(imageId: string): Promise<string> {
    const disk = await this.download(`/v2/images/${imageId}/file?format=raw`);
    return createHash('sha256').update(disk).digest('hex');
  }

  async #send(
    method: string,
    path: string,
    body?: unknown,
    more: Record<string, string> = {},
    as: SeededIdentity = this.identity,
  ): Promise<Response> {
    const url = new URL(path, this.url);
    const text = body === undefined ? '' : JSON.stringify(body);
    const headers: Record<string, string> = { ...more };
    if (body !== undefined) headers['content-type'] = 'application/json';
    const signed = this.#signed(method, url, text, headers, as);
    return fetch(url, { method, headers: signed, ...(body === undefined ? {} : { body: text }) });
  }

  #signed(
    method: string,
    url: URL,
    body: string,
    headers: Record<string, string>,
    { projectId, access, secret }: SeededIdentity = this.identity,
  ): Record<string, string> {
    return signRequest(
      {
        method,
        rawPath: url.pathname,
        rawQuery: url.search.slice(1),
        headers: { host: url.host, 'x-project-id': projectId, ...headers },
        body,
      },
      { access, secret },
      systemClock.now(),
    );
  }

  /** Ends all parts the way a supervisor does, then removes the database. */
  async stop(): Promise<void> {
    await Promise.all([...this.#children.keys()].map((part) => this.kill(part, 'SIGTERM')));
    await this.database.drop();
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Glance answers its errors in HTML.
    return undefined;
  }
}
