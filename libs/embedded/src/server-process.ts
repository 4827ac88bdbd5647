import { errorCode, errorMessage } from './error-code';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { EmbeddedError } from './embedded-error';

export interface StopStage {
  signal: NodeJS.Signals;
  /** How long the process may take before the next, harsher stage. */
  graceMs: number;
}

export interface ServerProcessOptions {
  /** For messages. */
  name: string;
  command: string;
  args: readonly string[];
  cwd?: string;
  /** Whole environment of the process; that of this process when left out. */
  env?: Record<string, string>;
  /** Operating-system user to run as; needs root. */
  user?: OsUserIds | undefined;
  /** Standard output and error are appended to this file. */
  logFile: string;
  /** Sent one after the other until the process is gone; SIGKILL to the whole group follows. */
  stop: readonly StopStage[];
  /** Sent by the kernel when this process dies, however it dies, so that nothing is orphaned (Linux). */
  onParentDeath: NodeJS.Signals;
}

export interface OsUserIds {
  uid: number;
  gid: number;
}

export interface ProcessExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A server that this process has started: it runs in its own process group, is stopped in stages and never outlives its parent. */
export class ServerProcess {
  readonly pid: number;
  /** Settles when the process has ended, for whatever reason. */
  readonly exited: Promise<ProcessExit>;
  private exit: ProcessExit | undefined;

  private constructor(
    private readonly options: ServerProcessOptions,
    child: ChildProcess,
    pid: number,
  ) {
    this.pid = pid;
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.exit = { code, signal };
        resolve(this.exit);
      });
    });
  }

  /** Resolves as soon as the process exists; whether it serves is for the caller to find out. */
  static async start(options: ServerProcessOptions): Promise<ServerProcess> {
    const log = await open(options.logFile, 'a');
    try {
      const [command, args] = withParentDeathSignal(options);
      const child = spawn(command, args, {
        // Own session: a Ctrl-C at the terminal reaches only the parent, which then stops its servers in order.
        detached: true,
        stdio: ['ignore', log.fd, log.fd],
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
        ...(options.env === undefined ? {} : { env: options.env }),
        ...(options.user ?? {}),
      });
      const pid = await new Promise<number>((resolve, reject) => {
        child.once('error', reject);
        child.once('spawn', () => (child.pid === undefined ? reject(new Error('no process id')) : resolve(child.pid)));
      });
      return new ServerProcess(options, child, pid);
    } catch (error) {
      throw new EmbeddedError(
        'START_FAILED',
        `start ${options.name}: ${options.command} cannot be run: ${errorMessage(error)}`,
        `Check that ${options.command} exists and may be executed.`,
        { cause: error },
      );
    } finally {
      await log.close();
    }
  }

  get isRunning(): boolean {
    return this.exit === undefined;
  }

  /** How it ended, or undefined while it runs. */
  get ended(): ProcessExit | undefined {
    return this.exit;
  }

  /** Ends the process in the given stages and waits until it is gone. May be called again at any time. */
  async stop(): Promise<void> {
    for (const stage of this.options.stop) {
      if (!this.isRunning) break;
      this.signal(this.pid, stage.signal);
      if (await this.endsWithin(stage.graceMs)) break;
    }
    // Also when the leader is gone: whatever it left behind in its group goes with it.
    this.signal(-this.pid, 'SIGKILL');
    await this.exited;
  }

  /** Last lines of the log, for the message of a failed start. */
  async logTail(lines = 15): Promise<string> {
    const text = await readFile(this.options.logFile, 'utf8').catch(() => '');
    return text.trimEnd().split('\n').slice(-lines).join('\n');
  }

  private async endsWithin(ms: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), ms);
    });
    try {
      return await Promise.race([this.exited.then(() => true as const), timeout]);
    } finally {
      clearTimeout(timer);
    }
  }

  private signal(target: number, signal: NodeJS.Signals): void {
    try {
      process.kill(target, signal);
    } catch (error) {
      // ESRCH: gone in the meantime, which is what a stop wants.
      if (errorCode(error) !== 'ESRCH') throw error;
    }
  }
}

function withParentDeathSignal(options: ServerProcessOptions): [string, string[]] {
  const setpriv = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path));
  if (setpriv === undefined) return [options.command, [...options.args]];
  // setpriv replaces itself by the command, so the process id stays the one we know.
  return [setpriv, ['--pdeathsig', options.onParentDeath.replace(/^SIG/, ''), '--', options.command, ...options.args]];
}
