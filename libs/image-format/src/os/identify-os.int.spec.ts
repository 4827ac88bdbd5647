import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ImsError, identifiedOs } from '@ims/contract';
import { makeDebianLikeDisk, type DebianLikeDiskOptions } from '@ims/testing';
import fc from 'fast-check';
import { MemoryDisk } from '../zvhd/memory-disk.spec';
import { DiskView } from './disk-view';
import { identifyOs } from './identify-os';
import { FileDisk } from './file-disk.spec';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const X86 = { architecture: 'x86' } as const;
const UNKNOWN_RELEASE = 'ID=plan9\nVERSION_ID=4\n';
/** Heads of ELF programs: 32-bit i386 and 64-bit AArch64. */
const I386 = `\x7fELF\x01\x01\x01${'\0'.repeat(9)}\x02\0\x03\0`;

let dir: string;
let count = 0;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ims-os-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function diskOf(
  options: DebianLikeDiskOptions = {},
): Promise<{ bytes: Buffer; rootOffset: number; rootSizeBytes: number }> {
  const disk = await makeDebianLikeDisk(dir, {
    name: `disk-${count++}`,
    virtualSizeBytes: 24 * MIB,
    dataBytes: 2 * MIB,
    ...options,
  });
  const bytes = await readFile(disk.path);
  await rm(disk.path);
  return { ...disk, bytes };
}

/** The same disk with NTFS in place of its root file system. */
function withNtfs({
  bytes,
  rootOffset,
  rootSizeBytes,
}: {
  bytes: Buffer;
  rootOffset: number;
  rootSizeBytes: number;
}): Buffer {
  bytes.fill(0, rootOffset, rootOffset + rootSizeBytes);
  bytes.write('NTFS    ', rootOffset + 3, 'latin1');
  return bytes;
}

describe(identifyOs.name, () => {
  it('finds release, platform and firmware of a Debian disk, and says what it rests on (CRE-31)', async () => {
    const { bytes } = await diskOf();
    const os = await identifyOs(new MemoryDisk(bytes), X86);
    expect(identifiedOs.parse(os)).toEqual(os);
    expect(os).toMatchObject({
      osType: 'Linux',
      osVersion: 'Debian GNU/Linux 10.2.0 64bit',
      platform: 'Debian',
      osBit: '64',
      architecture: 'x86',
      firmware: 'bios',
    });
    expect(os.evidence).toEqual([
      'GPT partition table with 2 partitions',
      'boot code for BIOS in the first sector',
      'partition 1 is a BIOS boot partition',
      'partition 2 holds ext4',
      '/etc/os-release, /usr/lib/os-release, /etc/debian_version on partition 2: debian 10.2',
      'cloud-init is installed',
    ]);
    expect(os.unknown).toEqual([
      'drivers: no kernel has modules, so what is built into it cannot be told',
      'bits: 64 is assumed',
    ]);
  });

  it.each<[string, DebianLikeDiskOptions, 'x86' | 'arm', 'bios' | 'uefi', string]>([
    [
      'GPT, FAT16 and ext4',
      { firmware: 'uefi' },
      'x86',
      'uefi',
      'BOOTX64.EFI in the EFI system partition (partition 1)',
    ],
    [
      'GPT and FAT32',
      { firmware: 'uefi', espBytes: 40 * MIB, virtualSizeBytes: 64 * MIB },
      'x86',
      'uefi',
      'BOOTX64.EFI',
    ],
    ['MBR and ext2', { firmware: 'uefi', table: 'mbr', fileSystem: 'ext2' }, 'x86', 'uefi', 'holds ext2'],
    ['MBR and boot code', { table: 'mbr' }, 'x86', 'bios', 'MBR partition table with 1 partitions'],
    ['both ways', { firmware: 'both' }, 'x86', 'bios', 'BIOS is the default'],
    ['arm', { firmware: 'uefi', architecture: 'arm' }, 'arm', 'uefi', 'BOOTAA64.EFI'],
  ])('tells how a disk starts: %s', async (_, options, architecture, firmware, evidence) => {
    const { bytes } = await diskOf(options);
    const os = await identifyOs(new MemoryDisk(bytes), { architecture });
    expect(os).toMatchObject({ osVersion: 'Debian GNU/Linux 10.2.0 64bit', firmware, architecture });
    expect(os.evidence.join('\n')).toContain(evidence);
  });

  it('uses the second copy of a GPT whose first is destroyed', async () => {
    const { bytes } = await diskOf();
    bytes.fill(0, 512, 34 * 512);
    expect(await identifyOs(new MemoryDisk(bytes), X86)).toMatchObject({ osVersion: 'Debian GNU/Linux 10.2.0 64bit' });
  });

  it('reads a file system that fills the whole disk, and one in a logical partition', async () => {
    const { bytes, rootOffset, rootSizeBytes } = await diskOf();
    const root = bytes.subarray(rootOffset, rootOffset + rootSizeBytes);
    const whole = await identifyOs(new MemoryDisk(root), X86);
    expect(whole).toMatchObject({ osVersion: 'Debian GNU/Linux 10.2.0 64bit' });
    expect(whole.evidence).toContain('no partition table');

    const path = join(dir, 'logical.raw');
    await writeFile(path, Buffer.alloc(24 * MIB));
    const sfdisk = run('/usr/sbin/sfdisk', ['--quiet', '--no-reread', '--no-tell-kernel', path]);
    sfdisk.child.stdin?.end('label: dos\nsize=2048, type=83\ntype=5\nsize=2048, type=82\ntype=83\n');
    await sfdisk;
    const { stdout } = await run('/usr/sbin/sfdisk', ['--dump', path]);
    const start = Number(/raw6 : start=\s*(\d+)/.exec(stdout)?.[1]) * 512;
    const disk = await readFile(path);
    root.subarray(0, disk.length - start).copy(disk, start);
    const logical = await identifyOs(new MemoryDisk(disk), X86);
    expect(logical.evidence).toContain('partition 6 holds ext4');
    expect(logical).toMatchObject({ osVersion: 'Debian GNU/Linux 10.2.0 64bit' });
  });

  it('reads FAT as QEMU writes it', async () => {
    const tree = join(dir, 'fat');
    await mkdir(join(tree, 'EFI/BOOT'), { recursive: true });
    await writeFile(join(tree, 'EFI/BOOT/BOOTX64.EFI'), 'MZ');
    await writeFile(join(tree, 'EFI/a file with a long name.txt'), 'text');
    const path = join(dir, 'fat.raw');
    await run('qemu-img', ['convert', '-f', 'vvfat', '-O', 'raw', `fat:${tree}`, path]);
    const patched = await readFile(path);
    // QEMU makes a plain FAT partition; only its type is changed.
    patched.writeUInt8(0xef, 446 + 4);
    const os = await identifyOs(new MemoryDisk(patched), X86);
    expect(os.evidence).toContain('/EFI/BOOT/BOOTX64.EFI in the EFI system partition (partition 1)');
    await rm(path);
  });

  it.each<[string, () => Promise<Buffer>]>([
    ['Other_Linux (64_bit)', async () => (await diskOf({ osRelease: UNKNOWN_RELEASE })).bytes],
    [
      'Other_Linux (32_bit)',
      async () => (await diskOf({ osRelease: UNKNOWN_RELEASE, files: { 'bin/sh': I386 } })).bytes,
    ],
    ['Other_Windows (64_bit)', async () => withNtfs(await diskOf({ firmware: 'uefi' }))],
    [
      'Other_Windows (32_bit)',
      async () => {
        const disk = withNtfs(await diskOf({ firmware: 'uefi' }));
        disk.write('BOOTIA32EFI', disk.indexOf('BOOTX64 EFI'), 'latin1');
        return disk;
      },
    ],
  ])('registers a system outside the tables as %s, and says so (CRE-32, CRE-33)', async (name, make) => {
    const os = await identifyOs(new MemoryDisk(await make()), X86);
    expect(os).toMatchObject({
      osVersion: name,
      osType: name.includes('Windows') ? 'Windows' : 'Linux',
      osBit: name.includes('32') ? '32' : '64',
    });
    expect(os.unknown.join('\n')).toMatch(/not in the tables|no registry could be read/);
  });

  it("keeps the caller's listed name and puts a contradiction into the evidence", async () => {
    const { bytes } = await diskOf();
    const agreed = await identifyOs(new MemoryDisk(bytes), { ...X86, osVersion: 'Debian GNU/Linux 10.2.0 64bit' });
    expect(agreed.evidence.join('\n')).not.toContain('the caller');
    const other = await identifyOs(new MemoryDisk(bytes), { ...X86, osVersion: 'Windows 10 64bit' });
    expect(other).toMatchObject({ osVersion: 'Windows 10 64bit', osType: 'Windows', platform: 'Windows' });
    expect(other.evidence).toContain(
      'the caller says "Windows 10 64bit", the disk looks like "Debian GNU/Linux 10.2.0 64bit"; the caller\'s word is kept',
    );
    const unlisted = await identifyOs(new MemoryDisk(bytes), { ...X86, osVersion: 'BeOS' });
    expect(unlisted.osVersion).toBe('Debian GNU/Linux 10.2.0 64bit');
    expect(unlisted.evidence.join('\n')).toContain('"BeOS" is not a listed name');
  });

  it('believes a system of the tables more than the caller where it is told to, and nothing less', async () => {
    const { bytes } = await diskOf();
    const hints = { ...X86, osVersion: 'Windows 10 64bit', detectedWins: true };
    const found = await identifyOs(new MemoryDisk(bytes), hints);
    expect(found).toMatchObject({ osVersion: 'Debian GNU/Linux 10.2.0 64bit', osType: 'Linux', platform: 'Debian' });
    expect(found.evidence).toContain(
      'the caller says "Windows 10 64bit", the disk holds "Debian GNU/Linux 10.2.0 64bit"',
    );
    const empty = await identifyOs(new MemoryDisk(Buffer.alloc(1 << 20)), hints);
    expect(empty).toMatchObject({ osVersion: 'Windows 10 64bit', osType: 'Windows' });
  });

  it('notes a disk of another architecture than the image is declared for', async () => {
    const { bytes } = await diskOf({ firmware: 'uefi', architecture: 'arm' });
    const os = await identifyOs(new MemoryDisk(bytes), X86);
    expect(os.evidence).toContain('the image is declared for x86, the disk looks like arm');
  });

  it.each([
    ['btrfs', 65_600, '_BHRfS_M'],
    ['lvm', 512, 'LABELONE'],
    ['luks', 0, 'LUKS\xba\xbe'],
  ])('names %s as not read', async (kind, offset, magic) => {
    const { bytes, rootOffset, rootSizeBytes } = await diskOf();
    bytes.fill(0, rootOffset, rootOffset + rootSizeBytes);
    bytes.write(magic, rootOffset + offset, 'latin1');
    const os = await identifyOs(new MemoryDisk(bytes), X86);
    expect(os.unknown).toContain(`partition 2: ${kind} is not read`);
    expect(os.osVersion).toBe('Other_Linux (64_bit)');
  });

  it('says that an empty disk tells nothing', async () => {
    const os = await identifyOs(new MemoryDisk(Buffer.alloc(MIB)), X86);
    expect(os.unknown).toContain('operating system: nothing on the disk tells it');
    expect(os.unknown.join('\n')).toContain('firmware');
  });

  it('gets over a link that leads in circles, and says so', async () => {
    const { bytes } = await diskOf();
    bytes.write('../etc/os-release/../', bytes.indexOf('../usr/lib/os-release'), 'latin1');
    const os = await identifyOs(new MemoryDisk(bytes), X86);
    expect(os.osVersion).toBe('Debian GNU/Linux 10.2.0 64bit');
    expect(os.unknown.join('\n')).toContain('too many symbolic links');
  });

  it('reports a damaged image file as unknown, and lets failures of the store pass', async () => {
    const { bytes } = await diskOf();
    const disk = new MemoryDisk(bytes);
    const failing = (error: Error) => ({
      ...disk,
      virtualSizeBytes: bytes.length,
      extents: () => disk.extents(),
      close: () => disk.close(),
      read: () => Promise.reject(error),
    });
    const os = await identifyOs(failing(new ImsError('IMG.0057', 'block 0 cannot be unpacked')), X86);
    expect(os.unknown.join('\n')).toContain('block 0 cannot be unpacked');
    await expect(identifyOs(failing(new Error('connection lost')), X86)).rejects.toThrow('connection lost');
  });

  it('never throws and never reads more than 4 MiB, whatever the metadata say', async () => {
    const { bytes, rootOffset } = await diskOf({ firmware: 'both' });
    const places = [
      440,
      512,
      1024,
      2 * MIB,
      2 * MIB + 32 * 512,
      rootOffset + 1024,
      rootOffset + 4096,
      rootOffset + 8192,
    ];
    const inodes = bytes.indexOf('../usr/lib/os-release') - 40;
    const change = fc.record({
      base: fc.constantFrom(...places, inodes, inodes - 256, inodes - 512, inodes - 768),
      shift: fc.nat(512),
      value: fc.constantFrom(0, 1, 2, 0x7f, 0x80, 0xff),
      length: fc.constantFrom(1, 2, 4, 8),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 8 }), async (changes) => {
        const disk = new CountingDisk(bytes, changes);
        const os = await identifyOs(disk, X86);
        expect(identifiedOs.safeParse(os).success).toBe(true);
        expect(disk.bytesRead).toBeLessThanOrEqual(4 * MIB);
      }),
      { numRuns: 400 },
    );
  });
});

describe(DiskView.name, () => {
  it('reads across pages and refuses what lies outside', async () => {
    const bytes = Buffer.alloc(40_000, 0).map((_, k) => k % 251);
    const view = new DiskView(new MemoryDisk(Buffer.from(bytes)));
    expect((await view.bytes(16_000, 1000)).equals(Buffer.from(bytes.subarray(16_000, 17_000)))).toBe(true);
    await expect(view.bytes(39_999, 2)).rejects.toThrow('outside');
    await expect(view.bytes(-1, 1)).rejects.toThrow('outside');
    await expect(view.bytes(Number.NaN, 1)).rejects.toThrow('outside');
  });
});

describe(FileDisk.name, () => {
  it('serves a large sparse disk with a few hundred KiB read', async () => {
    const made = await makeDebianLikeDisk(dir, { name: 'large', virtualSizeBytes: 2048 * MIB, dataBytes: MIB });
    const disk = await FileDisk.open(made.path);
    expect((await identifyOs(disk, X86)).osVersion).toBe('Debian GNU/Linux 10.2.0 64bit');
    expect(disk.bytesRead).toBeLessThan(MIB);
    await disk.close();
    await rm(made.path);
  });
});

interface Change {
  base: number;
  shift: number;
  value: number;
  length: number;
}

/** A disk with changed bytes that leaves the original alone. */
class CountingDisk extends MemoryDisk {
  bytesRead = 0;

  constructor(
    bytes: Buffer,
    private readonly changes: Change[],
  ) {
    super(bytes);
  }

  override async read(offset: number, target: Uint8Array): Promise<void> {
    this.bytesRead += target.length;
    await super.read(offset, target);
    for (const { base, shift, value, length } of this.changes) {
      for (let at = base + shift; at < base + shift + length; at++) {
        if (at >= offset && at < offset + target.length) target[at - offset] = value;
      }
    }
  }
}
