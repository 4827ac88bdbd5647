import { errorCode, isProcessAlive, openForServers, processStart } from '@ims/embedded';
import { randomBytes } from 'node:crypto';
import { chmod, link, mkdir, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { CliError } from '../cli-error';

const secretsSchema = z.object({
  superuserPassword: z.string(),
  ownerPassword: z.string(),
  servicePassword: z.string(),
  rootKey: z.string(),
  userName: z.string(),
  userPassword: z.string(),
  access: z.string(),
  secret: z.string(),
});
export type StackSecrets = z.infer<typeof secretsSchema>;

const serviceState = z.object({ pid: z.number(), restarts: z.number(), log: z.string() });

const stateSchema = z.object({
  /** Raised when the file changes its meaning; another number is a state of another release. */
  version: z.literal(1),
  supervisorPid: z.number(),
  startedAt: z.string(),
  dataDir: z.string(),
  region: z.string(),
  apiUrl: z.string(),
  temporalAddress: z.string(),
  temporalUiUrl: z.string(),
  databaseUrl: z.string(),
  bucketDir: z.string(),
  accountName: z.string(),
  userName: z.string(),
  userPassword: z.string(),
  projectId: z.string(),
  access: z.string(),
  secret: z.string(),
  /** Key of the platform's operator, who keeps the catalogue and runs the market. */
  operator: z.object({ access: z.string(), secret: z.string() }).optional(),
  services: z.record(z.string(), serviceState),
});
/** What a running service is and where: written by its supervisor, read by every other command. */
export type StackState = z.infer<typeof stateSchema>;

/** One instance of the service on disk. Everything it is lies below one directory, so moving or deleting that is moving or deleting it. */
export class DataDirectory {
  readonly path: string;

  constructor(path: string) {
    this.path = resolve(path);
  }

  get postgres(): string {
    return join(this.path, 'postgres');
  }
  get temporalDb(): string {
    return join(this.path, 'temporal', 'temporal.db');
  }
  get store(): string {
    return join(this.path, 'store');
  }
  get buckets(): string {
    return join(this.path, 'buckets');
  }
  /** Disks of the embedded servers. */
  get cloud(): string {
    return join(this.path, 'cloud');
  }
  get staging(): string {
    return join(this.path, 'staging');
  }
  get logs(): string {
    return join(this.path, 'logs');
  }
  log(service: string): string {
    return join(this.logs, `${service}.log`);
  }
  private get lockFile(): string {
    return join(this.path, 'supervisor.pid');
  }
  private get stateFile(): string {
    return join(this.path, 'state.json');
  }
  private get secretsFile(): string {
    return join(this.path, 'secrets.json');
  }

  private get peersFile(): string {
    return join(this.path, 'peers.json');
  }

  /** Makes what is absent. Secrets and logs are for the owner only; Postgres, which may run as another user, can walk through. */
  async prepare(): Promise<void> {
    await mkdir(this.path, { recursive: true });
    if (process.getuid?.() === 0) await openForServers(this.path);
    for (const directory of [this.store, this.buckets, this.cloud, this.staging, this.logs]) {
      await mkdir(directory, { recursive: true });
      await chmod(directory, 0o700);
    }
  }

  /**
   * Secrets of this instance, made at its first start and kept: they open what is already stored. `shared`: those of a user that other regions know
   * as well.
   */
  async secrets(
    shared: Partial<Pick<StackSecrets, 'userName' | 'userPassword' | 'access' | 'secret'>> = {},
  ): Promise<StackSecrets> {
    const text = await readFile(this.secretsFile, 'utf8').catch(() => undefined);
    if (text !== undefined) return secretsSchema.parse(JSON.parse(text));
    const fresh: StackSecrets = {
      superuserPassword: token(),
      ownerPassword: token(),
      servicePassword: token(),
      rootKey: randomBytes(32).toString('hex'),
      userName: 'admin',
      userPassword: token(),
      access: randomBytes(10).toString('hex').toUpperCase(),
      secret: randomBytes(20).toString('hex'),
      ...shared,
    };
    await this.replace(this.secretsFile, fresh);
    return fresh;
  }

  /** What the other regions are to this one (`IMS_PEERS`); not on the command line of any process, because it holds secrets. */
  async writePeers(text: string): Promise<void> {
    await this.replace(this.peersFile, JSON.parse(text));
  }

  /** `undefined` for a region that is alone. */
  async peers(): Promise<string | undefined> {
    return readFile(this.peersFile, 'utf8').catch(() => undefined);
  }

  async writeState(state: StackState): Promise<void> {
    await this.replace(this.stateFile, state);
  }

  /** State of the instance, whether it still runs or its supervisor died; undefined when it was stopped in order or never started. */
  async readState(): Promise<StackState | undefined> {
    const text = await readFile(this.stateFile, 'utf8').catch(() => undefined);
    if (text === undefined) return undefined;
    const parsed = stateSchema.safeParse(parseJson(text));
    if (parsed.success) return parsed.data;
    throw new CliError(
      `${this.stateFile} is not a state file of this release`,
      'Stop the service with the release that started it.',
    );
  }

  async removeState(): Promise<void> {
    await rm(this.stateFile, { force: true });
  }

  /**
   * Claims the directory for this process. A claim of a dead supervisor is taken over; of two that try at once, one wins.
   *
   * @throws CliError when another supervisor lives
   */
  async lock(): Promise<void> {
    const draft = `${this.lockFile}.${process.pid}`;
    await writeFile(draft, `${process.pid} ${processStart(process.pid) ?? ''}\n`);
    try {
      // Two rounds: the first may have to clear a stale claim out of the way.
      for (const mayClear of [true, false]) {
        try {
          await link(draft, this.lockFile);
          return;
        } catch (error) {
          if (errorCode(error) !== 'EEXIST') throw error;
          const holder = await this.livingSupervisor();
          if (holder !== undefined || !mayClear) {
            throw new CliError(
              `${this.path} is in use by process ${holder ?? 'unknown'}`,
              `See "ims status --data ${this.path}", stop it with "ims down --data ${this.path}", or choose another --data.`,
            );
          }
          await unlink(this.lockFile).catch(() => undefined);
        }
      }
    } finally {
      await rm(draft, { force: true });
    }
  }

  async unlock(): Promise<void> {
    await rm(this.lockFile, { force: true });
  }

  /** Process id of the supervisor that holds this directory now. */
  async livingSupervisor(): Promise<number | undefined> {
    const [pidText = '', start = ''] = (await readFile(this.lockFile, 'utf8').catch(() => '')).trim().split(' ');
    const pid = Number(pidText);
    if (!Number.isInteger(pid) || pid <= 0 || !isProcessAlive(pid)) return undefined;
    // After a reboot the number may belong to any program; the time of its start tells.
    return start === '' || start === processStart(pid) ? pid : undefined;
  }

  async exists(): Promise<boolean> {
    return (await stat(this.path).catch(() => undefined)) !== undefined;
  }

  /** Removes the instance with all images. The caller makes sure that it does not run. */
  async purge(): Promise<void> {
    await rm(this.path, { recursive: true, force: true });
  }

  private async replace(path: string, content: unknown): Promise<void> {
    const draft = `${path}.${process.pid}`;
    await writeFile(draft, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 });
    await rename(draft, path);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON is one more way of not being a state file; the schema refuses it.
    return undefined;
  }
}

function token(): string {
  return randomBytes(16).toString('hex');
}
