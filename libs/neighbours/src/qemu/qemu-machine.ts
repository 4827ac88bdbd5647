import { access, constants, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ServerProcess, StopWaiting, waitFor } from '@ims/embedded';
import { Qmp } from './qmp';

export interface MachineDisk {
  /** NBD server of the disk. */
  socketPath: string;
  /** Lower boots first; `null` is never booted. */
  bootIndex: number | null;
  readOnly: boolean;
  /** An installation medium: the machine has it in a CD drive, which firmware boots in another way. */
  isCd?: boolean;
}

export interface MachineOptions {
  name: string;
  firmware: 'bios' | 'uefi';
  memoryMib: number;
  disks: readonly MachineDisk[];
}

// Programs are looked up here and nowhere else, so that a folder of a user cannot put itself in front.
const SYSTEM_FOLDERS = ['/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/sbin'];
// Where Debian and Fedora put the firmware in one file.
const UEFI_FIRMWARE = ['/usr/share/ovmf/OVMF.fd', '/usr/share/OVMF/OVMF.fd', '/usr/share/edk2/ovmf/OVMF.fd'];
// Seen: 0.1 s until the control socket answers. A loaded machine may take a hundred times that before something must be wrong.
const START_DEADLINE_MS = 30_000;
const INSIDE = '/machine';

/** Why no machine can be started here; `undefined` when it can. */
export async function whyNoMachine(firmware: 'bios' | 'uefi'): Promise<string | undefined> {
  if ((await program('qemu-system-x86_64')) === undefined) return 'QEMU (qemu-system-x86_64) is not installed';
  if ((await program('bwrap')) === undefined)
    return 'bubblewrap is not installed, and a machine never runs without its sandbox';
  if (firmware === 'uefi' && (await firstPresent(UEFI_FIRMWARE)) === undefined)
    return 'UEFI firmware (ovmf) is not installed';
  return undefined;
}

/**
 * One virtual machine: x86-64, emulated (no rights on the host are needed), no network, disks over NBD, the first serial port into a file. It runs
 * in a sandbox that shows it the programs of the host and nothing of its files, and dies with this process.
 */
export class QemuMachine {
  private constructor(
    private readonly process: ServerProcess,
    private readonly qmp: Qmp,
    private readonly runtime: string,
  ) {}

  /** Resolves when the machine runs. @throws Error with QEMU's own words when it does not start */
  static async start(options: MachineOptions): Promise<QemuMachine> {
    const missing = await whyNoMachine(options.firmware);
    if (missing !== undefined) throw new Error(`start ${options.name}: ${missing}`);
    const runtime = await mkdtemp(join(tmpdir(), 'ims-vm-'));
    let process: ServerProcess | undefined;
    try {
      const running = await ServerProcess.start({
        name: options.name,
        command: (await program('bwrap')) ?? 'bwrap',
        args: [...sandbox(runtime, options.disks), ...(await machine(options))],
        env: { PATH: SYSTEM_FOLDERS.join(':') },
        logFile: join(runtime, 'qemu.log'),
        stop: [],
        onParentDeath: 'SIGKILL',
      });
      process = running;
      const qmp = await waitFor(
        async () => {
          if (!running.isRunning)
            throw new StopWaiting(new Error(`start ${options.name}: ${await running.logTail(5)}`));
          return Qmp.connect(join(runtime, 'qmp'));
        },
        { deadlineMs: START_DEADLINE_MS, everyMs: 20, what: `${options.name} to answer` },
      );
      return new QemuMachine(running, qmp, runtime);
    } catch (error) {
      await process?.stop();
      await rm(runtime, { recursive: true, force: true });
      throw error;
    }
  }

  get isRunning(): boolean {
    return this.process.isRunning;
  }

  /** Settles when it has ended, asked or not. */
  get exited(): Promise<unknown> {
    return this.process.exited;
  }

  get pid(): number {
    return this.process.pid;
  }

  /** Everything the serial port has printed so far. */
  async console(): Promise<string> {
    return readFile(join(this.runtime, 'serial.log'), 'latin1').catch(() => '');
  }

  /** Stands it still; QEMU finishes and flushes what is on its way to the disks first. */
  async pause(): Promise<void> {
    await this.qmp.execute('stop');
  }

  async resume(): Promise<void> {
    await this.qmp.execute('cont');
  }

  /** Switches it off at once, as pulling the plug does. Gives what the console had printed. */
  async stop(): Promise<string> {
    await this.process.stop();
    this.qmp.close();
    const console = await this.console();
    await rm(this.runtime, { recursive: true, force: true });
    return console;
  }
}

function sandbox(runtime: string, disks: readonly MachineDisk[]): string[] {
  return [
    ...['--unshare-all', '--die-with-parent', '--new-session', '--clearenv', '--setenv', 'TMPDIR', INSIDE],
    ...['--ro-bind', '/usr', '/usr', '--symlink', 'usr/lib', '/lib', '--symlink', 'usr/lib64', '/lib64'],
    ...['--proc', '/proc', '--dev', '/dev', '--bind', runtime, INSIDE],
    ...disks.flatMap(({ socketPath }, index) => ['--bind', socketPath, `${INSIDE}/disk${index}`]),
  ];
}

async function machine(options: MachineOptions): Promise<string[]> {
  const firmware = options.firmware === 'uefi' ? await firstPresent(UEFI_FIRMWARE) : undefined;
  return [
    ...['qemu-system-x86_64', '-name', 'guest', '-nodefaults', '-no-user-config', '-display', 'none', '-nic', 'none'],
    ...['-machine', 'pc,accel=tcg', '-cpu', 'max', '-m', String(options.memoryMib), '-smp', '1'],
    ...(firmware === undefined ? [] : ['-bios', firmware]),
    ...['-serial', `file:${INSIDE}/serial.log`, '-qmp', `unix:${INSIDE}/qmp,server=on,wait=off`],
    // Even inside the sandbox: no new processes, no other user, no priorities.
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ...options.disks.flatMap((disk, index) => [
      '-blockdev',
      JSON.stringify({
        driver: 'raw',
        'node-name': `disk${index}`,
        'read-only': disk.readOnly,
        file: { driver: 'nbd', server: { type: 'unix', path: `${INSIDE}/disk${index}` } },
      }),
      '-device',
      // `bootindex` must be unique; those that never boot get none.
      `${disk.isCd === true ? 'ide-cd' : 'virtio-blk-pci'},drive=disk${index}${disk.bootIndex === null ? '' : `,bootindex=${disk.bootIndex}`}`,
    ]),
  ];
}

function program(name: string): Promise<string | undefined> {
  return firstPresent(SYSTEM_FOLDERS.map((folder) => join(folder, name)));
}

async function firstPresent(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const isPresent = await access(path, constants.R_OK).then(
      () => true,
      () => false,
    );
    if (isPresent) return path;
  }
  return undefined;
}
