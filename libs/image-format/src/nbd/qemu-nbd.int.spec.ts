import { readdir, readFile, readlink } from 'node:fs/promises';
import { temporaryDirectory, waitFor } from '@ims/testing';
import { DiskFiles, readThroughExtents } from '../spec/disk-files.spec';
import { NbdReader } from './nbd.reader';
import { startQemuNbd, type QemuFormat } from './qemu-nbd';

const MIB = 2 ** 20;
const DEADLINE = { deadlineMs: 20_000 };

interface ProcessEntry {
  pid: number;
  parent: number;
}

/** All processes of the machine, from /proc; one that ends meanwhile is left out. */
async function processes(): Promise<ProcessEntry[]> {
  const found: ProcessEntry[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    // Gone since the listing: not there is what we want to know.
    const stat = await readFile(`/proc/${name}/stat`, 'latin1').catch(() => undefined);
    const parent = stat?.slice(stat.lastIndexOf(')') + 4).split(' ')[0];
    // A zombie runs nothing and holds nothing; it waits for its parent.
    if (stat === undefined || stat.slice(stat.lastIndexOf(')') + 2)[0] === 'Z') continue;
    found.push({ pid: Number(name), parent: Number(parent) });
  }
  return found;
}

/** The process and everything below it. */
async function familyOf(pid: number): Promise<number[]> {
  const all = await processes();
  const family = [pid];
  for (const member of family) family.push(...all.filter(({ parent }) => parent === member).map((entry) => entry.pid));
  return family;
}

async function survivorsOf(family: readonly number[]): Promise<number[]> {
  const alive = new Set((await processes()).map(({ pid }) => pid));
  return family.filter((pid) => alive.has(pid));
}

describe('sandboxed converter', () => {
  let files: DiskFiles;
  let runtimeDir: string;
  const start = (name: string, format: QemuFormat, signal?: AbortSignal): ReturnType<typeof startQemuNbd> =>
    startQemuNbd({
      path: files.path(name),
      format,
      sandbox: { runtimeDir },
      ...(signal === undefined ? {} : { signal }),
    });

  beforeAll(async () => {
    runtimeDir = await temporaryDirectory();
    files = await DiskFiles.in(await temporaryDirectory());
    await files.sparseRaw('source.raw');
    await files.qemuImg('convert', '-f', 'raw', '-O', 'qcow2', 'source.raw', 'disk.qcow2');
  });
  afterEach(async () => {
    expect(await readdir(runtimeDir)).toEqual([]);
  });

  it.each([
    ['raw', 'raw'],
    ['qcow2', 'qcow2'],
    ['vmdk', 'vmdk'],
    ['vpc', 'vhd'],
    ['vhdx', 'vhdx'],
    ['vdi', 'vdi'],
    ['qed', 'qed'],
    ['qcow', 'qcow'],
  ] as const)('serves %s with the guest bytes that qemu-img sees', async (qemuName, format) => {
    const name = `served.${qemuName}`;
    await files.qemuImg('convert', '-f', 'raw', '-O', qemuName, 'source.raw', name);
    await files.qemuImg('convert', '-f', qemuName, '-O', 'raw', name, `${name}.back`);
    const nbd = await start(name, format);
    const reader = await NbdReader.connect(nbd.socketPath);
    try {
      expect(reader.virtualSizeBytes).toBe(nbd.virtualSizeBytes);
      const { bytes } = await readThroughExtents(reader);
      expect(bytes.equals(await files.read(`${name}.back`))).toBe(true);
    } finally {
      await reader.close();
      await nbd.stop();
    }
  });

  it('runs in its own namespaces, as a group of its own, without a file of the host', async () => {
    const nbd = await start('disk.qcow2', 'qcow2');
    try {
      const family = await familyOf(nbd.pid);
      const namesOf = (pid: number | 'self'): Promise<string[]> =>
        Promise.all(['net', 'mnt', 'pid', 'ipc', 'uts'].map((kind) => readlink(`/proc/${pid}/ns/${kind}`)));
      const ours = await namesOf('self');
      const converter = family.at(-1) ?? nbd.pid;
      expect(await readFile(`/proc/${converter}/cmdline`, 'latin1')).toContain('qemu-nbd');
      for (const [at, namespace] of (await namesOf(converter)).entries()) expect(namespace).not.toBe(ours[at]);
      const limits = await readFile(`/proc/${converter}/limits`, 'latin1');
      expect(limits).toMatch(/Max address space +4294967296/);
      expect(limits).toMatch(/Max file size +0 /);
      expect(limits).toMatch(/Max core file size +0 /);
      expect(limits).toMatch(/Max open files +64 /);
      expect(limits).toMatch(/Max cpu time +3600 /);
      expect((await readdir(`/proc/${converter}/root`)).sort()).toEqual([
        'dev',
        'in',
        'lib',
        'lib64',
        'out',
        'proc',
        'usr',
      ]);
      expect(await readFile(`/proc/${converter}/environ`, 'latin1')).not.toContain('HOME=');
    } finally {
      await nbd.stop();
    }
  });

  it('a backing file that slipped through finds nothing of the host (image-formats 7)', async () => {
    await files.qemuImg('create', '-q', '-f', 'qcow2', '-b', files.path('source.raw'), '-F', 'raw', 'child.qcow2');
    await expect(start('child.qcow2', 'qcow2')).rejects.toMatchObject({ code: 'IMG.0057' });
  });

  it('a file that is not what it is said to be is refused as broken', async () => {
    await expect(start('source.raw', 'vhdx')).rejects.toMatchObject({ code: 'IMG.0057' });
  });

  it('leaves no process behind after stop, also when stopped twice', async () => {
    const nbd = await start('disk.qcow2', 'qcow2');
    const family = await familyOf(nbd.pid);
    expect(family.length).toBeGreaterThan(1);
    await Promise.all([nbd.stop(), nbd.stop()]);
    expect(await survivorsOf(family)).toEqual([]);
  });

  it('leaves no process behind after an abort', async () => {
    const aborting = new AbortController();
    const nbd = await start('disk.qcow2', 'qcow2', aborting.signal);
    const family = await familyOf(nbd.pid);
    aborting.abort();
    await waitFor(async () => (await survivorsOf(family)).length === 0, { ...DEADLINE, what: 'the sandbox to end' });
    await nbd.stop();
  });

  it('an abort while it starts is thrown as such', async () => {
    const aborting = new AbortController();
    const starting = start('disk.qcow2', 'qcow2', aborting.signal);
    const expectation = expect(starting).rejects.toThrow('enough');
    aborting.abort(new Error('enough'));
    await expectation;
  });

  it('a killed converter fails reads under way and later ones with IMG.0061', async () => {
    const nbd = await start('disk.qcow2', 'qcow2');
    const reader = await NbdReader.connect(nbd.socketPath);
    const converter = (await familyOf(nbd.pid)).at(-1);
    if (converter === undefined) throw new Error('no converter');
    // Stopped first, so that the read is certainly under way when the end comes.
    process.kill(converter, 'SIGSTOP');
    const reading = expect(reader.read(0, Buffer.alloc(4 * MIB))).rejects.toMatchObject({ code: 'IMG.0061' });
    process.kill(converter, 'SIGKILL');
    await reading;
    await expect(reader.read(0, Buffer.alloc(512))).rejects.toMatchObject({ code: 'IMG.0061' });
    await expect(NbdReader.connect(nbd.socketPath)).rejects.toMatchObject({ code: 'IMG.0061' });
    await reader.close();
    await nbd.stop();
  });

  it('an aborted read leaves its buffer alone and the connection usable', async () => {
    const nbd = await start('disk.qcow2', 'qcow2');
    const reader = await NbdReader.connect(nbd.socketPath);
    const converter = (await familyOf(nbd.pid)).at(-1);
    if (converter === undefined) throw new Error('no converter');
    process.kill(converter, 'SIGSTOP');
    const aborting = new AbortController();
    const dropped = Buffer.alloc(MIB, 0x11);
    const reading = expect(reader.read(0, dropped, aborting.signal)).rejects.toThrow('enough');
    aborting.abort(new Error('enough'));
    await reading;
    process.kill(converter, 'SIGCONT');
    const wanted = Buffer.alloc(MIB);
    await reader.read(0, wanted);
    expect(wanted.equals((await files.read('source.raw')).subarray(0, MIB))).toBe(true);
    expect(dropped.every((byte) => byte === 0x11)).toBe(true);
    await reader.close();
    await nbd.stop();
  });

  it('a damaged range is IMG.0057 while the rest stays readable', async () => {
    await files.qemuImg('convert', '-f', 'raw', '-O', 'qcow2', 'source.raw', 'damaged.qcow2');
    const file = await files.read('damaged.qcow2');
    const l2 = Number(file.readBigUInt64BE(Number(file.readBigUInt64BE(40))) & 0x00fffffffffffe00n);
    const unaligned = Buffer.alloc(8);
    unaligned.writeBigUInt64BE(0x8000000000050200n);
    await files.patch('damaged.qcow2', [[l2, unaligned]]);
    const nbd = await start('damaged.qcow2', 'qcow2');
    const reader = await NbdReader.connect(nbd.socketPath);
    try {
      await expect(reader.read(0, Buffer.alloc(4096))).rejects.toMatchObject({ code: 'IMG.0057' });
      const window = Buffer.alloc(4096);
      await reader.read(6 * MIB, window);
      expect(window.toString('latin1', 0, 9)).toBe('the quick');
    } finally {
      await reader.close();
      await nbd.stop();
    }
  });

  it.each([
    ['bubblewrap', { bubblewrap: '/nonexistent/bwrap' }, 'bubblewrap, which is not installed'],
    ['qemu-nbd', { qemuNbd: '/usr/bin/no-such-qemu-nbd' }, 'qemu-nbd, which is not installed'],
  ])(
    'without %s the format is refused with IMG.0072 and the reason, never run unsandboxed',
    async (_, missing, reason) => {
      const starting = startQemuNbd({
        path: files.path('disk.qcow2'),
        format: 'qcow2',
        sandbox: { runtimeDir, ...missing },
      });
      await expect(starting).rejects.toMatchObject({ code: 'IMG.0072', detail: expect.stringContaining(reason) });
    },
  );

  it('without user namespaces the format is refused with IMG.0072', async () => {
    // Root may open namespaces whatever the limit says, so a stand-in gives bubblewrap's own words (Debian, kernel.unprivileged_userns_clone=0).
    const bubblewrap = files.path('bwrap-denied');
    await files.script(
      'bwrap-denied',
      'echo "bwrap: No permissions to create new namespace, likely because the kernel does not allow non-privileged user namespaces." >&2\nexit 1\n',
    );
    const starting = startQemuNbd({
      path: files.path('disk.qcow2'),
      format: 'qcow2',
      sandbox: { runtimeDir, bubblewrap },
    });
    await expect(starting).rejects.toMatchObject({
      code: 'IMG.0072',
      detail: expect.stringContaining('user namespaces'),
    });
  });
});
