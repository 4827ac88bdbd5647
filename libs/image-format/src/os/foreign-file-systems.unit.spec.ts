import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { identifiedOs } from '@ims/contract';
import fc from 'fast-check';
import { MemoryDisk } from '../zvhd/memory-disk.spec';
import { DiskView, UnreadableError } from './disk-view';
import { writeHive } from './hive-writer.spec';
import { identifyOs } from './identify-os';
import { NtfsFileSystem } from './ntfs-file-system';
import { RegistryHive } from './registry-hive';
import { candidatesOf } from './windows-release';
import { XfsFileSystem } from './xfs-file-system';

// Made by mkfs.xfs 6.1 and by mkntfs and ntfs-3g 2022.10; the hive by the writer beside this file, read back by hivexsh 1.3.
const sample = async (name: string): Promise<Buffer> =>
  gunzipSync(await readFile(join(__dirname, '../../samples', `${name}.gz`)));
const X86 = { architecture: 'x86' } as const;
const MIB = 1024 * 1024;

describe.each(['centos-7.6.xfs', 'centos-7.6.xfs-v4'])('%s', (name) => {
  let bytes: Buffer;
  let files: XfsFileSystem;
  beforeAll(async () => {
    bytes = await sample(name);
  });
  beforeEach(async () => {
    files = await XfsFileSystem.open(new DiskView(new MemoryDisk(bytes)), { offset: 0, sizeBytes: bytes.length });
  });

  it('reads files, links and folders of one block and of several', async () => {
    expect((await files.readFile('etc/centos-release', 100))?.toString()).toBe(
      'CentOS Linux release 7.6.1810 (Core)\n',
    );
    expect((await files.readFile('etc/os-release', 12))?.toString()).toBe('NAME="CentOS');
    expect(await files.has('bin/sh')).toBe(true);
    expect(await files.has('usr/bin/a-program-with-a-long-name-0419')).toBe(true);
    expect(await files.has('usr/bin/a-program-with-a-long-name-0420')).toBe(false);
    expect(await files.list('usr/bin')).toHaveLength(422);
    expect(await files.list('etc')).toEqual(['os-release', 'centos-release']);
    expect(await files.list('etc/centos-release')).toEqual([]);
    expect(await files.readFile('usr/bin', 10)).toBeUndefined();
    expect(await files.has('etc/../../bin/.././lib/os-release')).toBe(true);
  });

  it('is told as CentOS with its drivers (CRE-31)', async () => {
    const os = await identifyOs(new MemoryDisk(bytes), X86);
    expect(os).toMatchObject({ osVersion: 'CentOS 7.6 64bit', platform: 'CentOS', osBit: '64', osType: 'Linux' });
    expect(os.evidence).toEqual(
      expect.arrayContaining([
        'the whole disk holds xfs',
        '/bin/sh is a 64-bit program for x86',
        'cloud-init is installed',
        'virtio driver for the disk: a module of kernel 3.10.0-957.el7.x86_64',
        'virtio driver for the network: a module of kernel 3.10.0-957.el7.x86_64',
      ]),
    );
    expect(os.unknown).toContain('drivers: what the initial RAM disk holds is not unpacked');
  });
});

describe('windows-2019.ntfs', () => {
  let bytes: Buffer;
  let files: NtfsFileSystem;
  beforeAll(async () => {
    bytes = await sample('windows-2019.ntfs');
  });
  beforeEach(async () => {
    files = await NtfsFileSystem.open(new DiskView(new MemoryDisk(bytes)), { offset: 0, sizeBytes: bytes.length });
  });

  it('reads files and folders, in any case of their letters', async () => {
    expect((await files.readFile('Windows/System32/config/SOFTWARE', 4))?.toString()).toBe('regf');
    expect(await files.has('WINDOWS/system32/DRIVERS/driver260.sys')).toBe(true);
    expect(await files.has('Windows/System32/drivers/driver261.sys')).toBe(false);
    expect(await files.list('Windows/System32/drivers')).toHaveLength(262);
    expect(await files.list('no/such/folder')).toEqual([]);
    expect(await files.openFile('Windows')).toBeUndefined();
    const hive = await files.openFile('Windows/System32/config/SOFTWARE');
    await expect(hive?.bytes(8190, 4)).rejects.toThrow(UnreadableError);
  });

  it('is told as Windows Server 2019 by its registry, with its drivers (CRE-31)', async () => {
    const os = await identifyOs(new MemoryDisk(bytes), X86);
    expect(os).toMatchObject({
      osVersion: 'Windows Server 2019 Datacenter 64bit',
      platform: 'Windows',
      osType: 'Windows',
      osBit: '64',
    });
    expect(os.evidence).toEqual(
      expect.arrayContaining([
        'the registry on the whole disk says Windows Server 2019 Datacenter, build 17763, ServerDatacenter',
        'virtio driver for the disk: viostor.sys',
        'virtio driver for the network: netkvm.sys',
        'cloudbase-init is installed',
      ]),
    );
  });

  it.each([
    [
      'Windows Server 2022 Datacenter',
      'amd64',
      'Other_Windows (64_bit)',
      /Windows Server 2022 .* is not in the tables/,
    ],
    ['Windows 7 Professional', 'x86', 'Windows 7 Professional 32bit', undefined],
    ['Windows XP Home', 'x86', 'Other_Windows (32_bit)', /Windows XP Home .*32bit/],
    ['Windows Server 2012 R2 Essentials', 'amd64', 'Windows Server 2012 R2 Essentials 64bit', undefined],
  ])('registers %s (%s) as %s (CRE-32, OS-19)', async (ProductName, build, name, unknown) => {
    const at = bytes.indexOf('regf');
    const changed = Buffer.from(bytes);
    const values = { ProductName, BuildLabEx: `1.${build}fre.x` };
    writeHive({ keys: { Microsoft: { keys: { 'Windows NT': { keys: { CurrentVersion: { values } } } } } } }).copy(
      changed,
      at,
    );
    const os = await identifyOs(new MemoryDisk(changed), X86);
    expect(os.osVersion).toBe(name);
    if (unknown !== undefined) expect(os.unknown.join('\n')).toMatch(unknown);
  });

  it('says that the registry is damaged, and goes on', async () => {
    const changed = Buffer.from(bytes);
    changed.fill(0, changed.indexOf('regf'), changed.indexOf('regf') + 4);
    const os = await identifyOs(new MemoryDisk(changed), X86);
    expect(os.osVersion).toBe('Other_Windows (64_bit)');
    expect(os.unknown).toEqual(
      expect.arrayContaining([
        'the whole disk, registry: registry: this is no hive',
        'Windows release: no registry could be read',
      ]),
    );
    expect(os.evidence).toContain('virtio driver for the disk: viostor.sys');
  });
});

describe(RegistryHive.name, () => {
  const open = (hive: Buffer): Promise<RegistryHive> =>
    RegistryHive.open({
      sizeBytes: hive.length,
      bytes: (offset, length) => Promise.resolve(hive.subarray(offset, offset + length)),
    });
  const hive = writeHive({ keys: { A: { keys: { B: { values: { Text: 'täxt', Number: 7, Other: '' } } } }, C: {} } });

  it('reads texts and numbers by path and name, in any case', async () => {
    const values = await (await open(hive)).values('a/B', ['text', 'NUMBER', 'absent']);
    expect(Object.fromEntries(values)).toEqual({ text: 'täxt', NUMBER: '7' });
    expect((await (await open(hive)).values('A/None', ['text'])).size).toBe(0);
    expect((await (await open(hive)).values('C', ['text'])).size).toBe(0);
  });

  it('tells one that was not closed', async () => {
    expect((await open(hive)).isDirty).toBe(false);
    const dirty = Buffer.from(hive);
    dirty.writeUInt32LE(2, 4);
    expect((await open(dirty)).isDirty).toBe(true);
  });

  it('does not follow lists that lead in circles', async () => {
    const looping = Buffer.from(hive);
    const list = looping.indexOf('lf\x02\0', 0, 'latin1');
    expect(list).toBeGreaterThan(4096);
    looping.write('ri', list, 'latin1');
    // Its first entry is the list itself; places are counted from behind the head, and a cell begins with its length.
    looping.writeUInt32LE(list - 4 - 4096, list + 4);
    await expect((await open(looping)).values('A/B', ['Text'])).rejects.toThrow(UnreadableError);
  });

  it.each([0, 100, 4096 + 31])('refuses a hive of %s bytes', async (length) => {
    await expect(open(hive.subarray(0, length))).rejects.toThrow(UnreadableError);
  });
});

describe(candidatesOf.name, () => {
  it.each([
    ['Windows Server 2019 Standard Evaluation', 17_763, 'Windows Server 2019 Standard'],
    ['Windows 10 Pro', 19_045, 'Windows 10'],
    ['Windows 10 Enterprise', 21_999, 'Windows 10'],
    ['Windows 10 Pro', 22_000, 'Windows 11'],
    ['Windows(R) Server 2008 R2 Enterprise', 7601, 'Windows Server 2008 R2 Enterprise'],
  ])('%s, build %s', (product, build, name) => expect(candidatesOf(product, build)).toEqual([name]));
});

/** A disk with changed bytes that leaves the original alone and counts what is read. */
class ChangedDisk extends MemoryDisk {
  bytesRead = 0;

  constructor(
    bytes: Buffer,
    private readonly changes: readonly { at: number; value: number }[],
  ) {
    super(bytes);
  }

  override async read(offset: number, target: Uint8Array): Promise<void> {
    this.bytesRead += target.length;
    await super.read(offset, target);
    for (const { at, value } of this.changes)
      if (at >= offset && at < offset + target.length) target[at - offset] = value;
  }
}

describe('hostile disks', () => {
  it.each(['centos-7.6.xfs', 'windows-2019.ntfs'])(
    'never throws and never reads more than 4 MiB of a damaged %s',
    async (name) => {
      const bytes = await sample(name);
      // Whatever is not zero is a structure or the content of one.
      const places: number[] = [];
      for (let at = 0; at < bytes.length; at += 16)
        if (bytes.subarray(at, at + 16).some((byte) => byte !== 0 && byte !== 0xff)) places.push(at);
      const change = fc.record({
        at: fc.integer({ min: 0, max: places.length * 16 - 1 }).map((n) => (places[n >> 4] ?? 0) + (n & 15)),
        value: fc.constantFrom(0, 1, 2, 0x7f, 0x80, 0xff),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 200 }), async (changes) => {
          const disk = new ChangedDisk(bytes, changes);
          const os = await identifyOs(disk, X86);
          expect(identifiedOs.safeParse(os).success).toBe(true);
          expect(disk.bytesRead).toBeLessThanOrEqual(4 * MIB);
        }),
        { numRuns: 60 },
      );
    },
  );
});
