import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { access, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { DiskFormat } from '@ims/contract';
import { broken, converterFailed, unlisted } from '../refusal';
import { NbdReader } from './nbd.reader';

/** Formats that qemu knows; ZVHD and ZVHD2 are ours alone. */
export type QemuFormat = Exclude<DiskFormat, 'zvhd' | 'zvhd2' | 'iso'>;

export interface Sandbox {
  /** Default `bwrap`, looked up in the system's own program folders. */
  bubblewrap: string;
  /** Program inside the sandbox, below `/usr`. Default `qemu-nbd`. */
  qemuNbd: string;
  /** Folder for the private socket directories. Default: the system's temporary folder; its path must be short (a socket path has 107 bytes). */
  runtimeDir: string;
  /** Address space of the converter, bytes. Default 4 GiB. */
  addressSpaceBytes: number;
  /** CPU time of the converter, seconds. Default 3600. */
  cpuSeconds: number;
}

const SANDBOX: Sandbox = {
  bubblewrap: 'bwrap',
  qemuNbd: 'qemu-nbd',
  runtimeDir: tmpdir(),
  // Measured: at 1 GiB thread creation still fails now and then (image-formats 7).
  addressSpaceBytes: 4 * 2 ** 30,
  cpuSeconds: 3600,
};

export interface QemuNbdRequest {
  /** A local file, bound read-only into the sandbox as the only file of the host. */
  path: string;
  /** What inspection found; never probed again. */
  format: QemuFormat;
  sandbox?: Partial<Sandbox>;
  /** Ends the converter, also while it starts. */
  signal?: AbortSignal;
}

export interface QemuNbd {
  socketPath: string;
  virtualSizeBytes: number;
  /** Process id of the sandbox; it leads a process group of its own. */
  pid: number;
  /** Kills the whole sandbox and waits until no process of it is left. Safe to call twice. */
  stop(): Promise<void>;
}

// Connections at once: one per worker thread, with room for a reader of the owner.
const SHARED = 16;
const SOCKET_NAME = 'nbd';
// sun_path of Linux has 108 bytes, the closing NUL included.
const MAX_SOCKET_PATH = 107;
// Seen: 30 ms. A loaded machine may take a hundred times that before something must be wrong.
const START_TIMEOUT_MS = 20_000;
const POLL_MS = 10;
// The first free descriptor behind the standard ones; bubblewrap writes the id of the sandbox's first process there.
const INFO_FD = 3;
// A killed process is gone within milliseconds; one that waits for a dead disk may take longer, and nothing can be done about it.
const END_TIMEOUT_MS = 5_000;
// Enough for the one line that says why; a converter that floods its error output fills nothing.
const MAX_STDERR_BYTES = 4096;
// Programs are looked up here and nowhere else, so that a folder of a user cannot put itself in front.
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Serves one file as a raw disk through `qemu-nbd --read-only` inside bubblewrap (image-formats 7): no network, no host file but the one given,
 * limits on memory, CPU, files and core dumps. Never runs unsandboxed: without bubblewrap, user namespaces or qemu-nbd it fails with `IMG.0072`.
 * A file that qemu refuses fails with `IMG.0057`; any other failure with `IMG.0061`.
 *
 * @example const nbd = await startQemuNbd({ path: '/srv/disk.vhdx', format: 'vhdx' });
 */
export function startQemuNbd(request: QemuNbdRequest): Promise<QemuNbd> {
  return startSandboxed({
    ...request,
    binds: ['--ro-bind', request.path, '/in'],
    image: ['-f', qemuName(request.format), '/in'],
  });
}

/**
 * The same for bytes that an NBD server of ours offers on `<socketDir>/<name>`: the sandbox then holds no host file at all.
 * `prepare` is given the private directory before the converter starts.
 */
export function startQemuNbdOnSocket(
  request: Omit<QemuNbdRequest, 'path'> & { sourceSocketName: string; prepare(socketDir: string): Promise<void> },
): Promise<QemuNbd> {
  const driver = qemuName(request.format);
  const image = `driver=${driver},file.driver=nbd,file.server.type=unix,file.server.path=/out/${request.sourceSocketName}`;
  return startSandboxed({ ...request, binds: [], image: ['--image-opts', image] });
}

// Only VHD has another name in qemu (image-formats 5).
const qemuName = (format: QemuFormat): string => (format === 'vhd' ? 'vpc' : format);

interface Launch {
  binds: readonly string[];
  image: readonly string[];
  sandbox?: Partial<Sandbox>;
  signal?: AbortSignal;
  prepare?(socketDir: string): Promise<void>;
}

async function startSandboxed(launch: Launch): Promise<QemuNbd> {
  const { signal } = launch;
  signal?.throwIfAborted();
  const sandbox = { ...SANDBOX, ...launch.sandbox };
  const socketDir = await mkdtemp(join(sandbox.runtimeDir, 'nbd-'));
  const socketPath = join(socketDir, SOCKET_NAME);
  const running = new SandboxedProcess(socketDir);
  try {
    if (Buffer.byteLength(socketPath) > MAX_SOCKET_PATH)
      throw converterFailed('the folder for sockets has too long a path');
    await launch.prepare?.(socketDir);
    signal?.throwIfAborted();
    running.start(sandbox.bubblewrap, sandboxArguments(sandbox, socketDir, launch));
    const virtualSizeBytes = await running.connected(socketPath, signal);
    running.stopOn(signal);
    return { socketPath, virtualSizeBytes, pid: running.pid, stop: () => running.stop() };
  } catch (error) {
    await running.stop();
    throw error;
  }
}

function sandboxArguments(sandbox: Sandbox, socketDir: string, { binds, image }: Launch): string[] {
  return [
    ...['--info-fd', String(INFO_FD), '--unshare-all', '--die-with-parent', '--new-session', '--clearenv'],
    ...['--ro-bind', '/usr', '/usr', '--symlink', 'usr/lib', '/lib', '--symlink', 'usr/lib64', '/lib64'],
    ...['--proc', '/proc', '--dev', '/dev', ...binds, '--bind', socketDir, '/out'],
    ...['prlimit', `--as=${sandbox.addressSpaceBytes}`, `--cpu=${sandbox.cpuSeconds}`],
    // Not one byte may be written to a file: a reader has nothing to write.
    ...['--fsize=0', '--nofile=64', '--core=0'],
    ...[sandbox.qemuNbd, '--read-only', `--shared=${SHARED}`, '--persistent', '-k', `/out/${SOCKET_NAME}`, ...image],
  ];
}

/** One sandbox from start to the end of its last process. */
class SandboxedProcess {
  private child: ChildProcess | undefined;
  private stderr = '';
  private info = '';
  private spawnError: NodeJS.ErrnoException | undefined;
  /** Resolves when the outer process has ended and its pipes are closed. */
  private gone: Promise<void> = Promise.resolve();
  private isGone = true;
  private stopping: Promise<void> | undefined;

  constructor(private readonly socketDir: string) {}

  get pid(): number {
    return this.child?.pid ?? -1;
  }

  start(program: string, args: readonly string[]): void {
    const child = spawn(program, args, {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      env: { PATH: SYSTEM_PATH },
      // A process group of its own, so that it can be killed as a whole.
      detached: true,
    });
    this.child = child;
    this.isGone = false;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      if (this.stderr.length < MAX_STDERR_BYTES) this.stderr += text.slice(0, MAX_STDERR_BYTES);
    });
    const info = child.stdio[INFO_FD];
    if (info instanceof Readable) info.setEncoding('utf8').on('data', (text: string) => (this.info += text));
    child.on('error', (error) => (this.spawnError = error));
    this.gone = new Promise((resolve) =>
      child.on('close', () => {
        this.isGone = true;
        resolve();
      }),
    );
  }

  /** Waits until the converter answers; gives the size of its disk. */
  async connected(socketPath: string, signal: AbortSignal | undefined): Promise<number> {
    const deadline = AbortSignal.timeout(START_TIMEOUT_MS);
    for (;;) {
      signal?.throwIfAborted();
      if (this.isGone || this.spawnError !== undefined) throw await this.startFailure();
      if (deadline.aborted) throw converterFailed('the converter did not start in time');
      const isListening = await access(socketPath).then(
        () => true,
        // Not there yet.
        () => false,
      );
      const reader = isListening ? await NbdReader.connect(socketPath, signal).catch(() => undefined) : undefined;
      if (reader !== undefined) {
        await reader.close();
        return reader.virtualSizeBytes;
      }
      await delay(POLL_MS);
    }
  }

  stopOn(signal: AbortSignal | undefined): void {
    if (signal === undefined) return;
    const stop = (): void => void this.stop();
    if (signal.aborted) return stop();
    signal.addEventListener('abort', stop, { once: true });
    void this.gone.then(() => signal.removeEventListener('abort', stop));
  }

  stop(): Promise<void> {
    this.stopping ??= this.end();
    return this.stopping;
  }

  private async end(): Promise<void> {
    if (this.child?.pid !== undefined && !this.isGone) {
      try {
        process.kill(-this.child.pid, 'SIGKILL');
      } catch {
        // The group is gone already; its exit is only not reported yet.
      }
      await this.gone;
      await this.emptied();
    }
    await rm(this.socketDir, { recursive: true, force: true });
  }

  /** Waits for the first process of the sandbox: the kernel lets it go only after all others of its process namespace. */
  private async emptied(): Promise<void> {
    const pid = /"child-pid": *(\d+)/.exec(this.info)?.[1];
    const deadline = AbortSignal.timeout(END_TIMEOUT_MS);
    while (pid !== undefined && !deadline.aborted && (await isRunning(pid))) await delay(POLL_MS);
  }

  private async startFailure(): Promise<Error> {
    if (this.spawnError !== undefined) {
      return this.spawnError.code === 'ENOENT'
        ? unlisted('this format needs bubblewrap, which is not installed')
        : unlisted('this format needs bubblewrap, which cannot be started');
    }
    await this.gone;
    const text = this.stderr;
    if (/^bwrap: /m.test(text)) {
      return /execvp/.test(text)
        ? unlisted('this format needs prlimit (util-linux), which is not installed')
        : unlisted('this format needs bubblewrap with user namespaces, which this machine forbids');
    }
    if (/^prlimit: .*failed to execute/m.test(text))
      return unlisted('this format needs qemu-nbd, which is not installed');
    if (/Permission denied/.test(text)) return converterFailed('the converter may not read the file');
    if (/^qemu-nbd: /m.test(text)) return broken('the converter refuses the file as broken');
    return converterFailed('the converter ended while it started');
  }
}

async function isRunning(pid: string): Promise<boolean> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
    // The state stands behind the name in brackets; a zombie only waits to be counted.
    const state = stat.charAt(stat.lastIndexOf(')') + 2);
    return state !== 'Z' && state !== 'X';
  } catch {
    // No such process, which is what we wait for.
    return false;
  }
}
