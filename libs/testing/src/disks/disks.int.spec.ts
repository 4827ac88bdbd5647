import { execFile } from 'node:child_process';
import { mkdtemp, rm, stat, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { convertDisk, DISK_VARIANTS, makeDebianLikeDisk, sha256OfRaw, type DebianLikeDisk } from '.';

const run = promisify(execFile);
const MIB = 1024 * 1024;

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ims-disks-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe(makeDebianLikeDisk.name, () => {
  it('makes the same bytes from the same options, and others from another seed', async () => {
    const small = { virtualSizeBytes: 16 * MIB, dataBytes: 3 * MIB };
    const first = await makeDebianLikeDisk(dir, { ...small, name: 'first' });
    const again = await makeDebianLikeDisk(dir, { ...small, name: 'again' });
    const other = await makeDebianLikeDisk(dir, { ...small, name: 'other', seed: 'other' });
    expect(await sha256OfRaw(again.path)).toBe(await sha256OfRaw(first.path));
    expect(await sha256OfRaw(other.path)).not.toBe(await sha256OfRaw(first.path));
  });

  it.each(['ext4', 'ext2'] as const)(
    'makes an %s file system that e2fsck finds clean and debugfs can read',
    async (fileSystem) => {
      const disk = await makeDebianLikeDisk(dir, { name: fileSystem, fileSystem, firmware: 'both' });
      expect((await stat(disk.path)).size).toBe(64 * MIB);
      const partition = join(dir, `${fileSystem}.part`);
      await run('qemu-img', [
        ...['convert', '--image-opts', '-O', 'raw'],
        `driver=raw,offset=${disk.rootOffset},size=${disk.rootSizeBytes},file.driver=file,file.filename=${disk.path}`,
        partition,
      ]);
      await expect(run('/usr/sbin/e2fsck', ['-fn', partition])).resolves.toMatchObject({
        stdout: expect.stringContaining('files'),
      });
      const { stdout } = await run('/usr/sbin/debugfs', ['-R', 'stat /etc/os-release', partition]);
      expect(stdout).toContain('Fast link dest: "../usr/lib/os-release"');
    },
  );

  it('makes partition tables that sfdisk reads back', async () => {
    const gpt = await makeDebianLikeDisk(dir, { name: 'gpt', firmware: 'both', dataBytes: MIB });
    const mbr = await makeDebianLikeDisk(dir, { name: 'mbr', table: 'mbr', firmware: 'uefi', dataBytes: MIB });
    const types = async (disk: DebianLikeDisk) =>
      [...(await run('/usr/sbin/sfdisk', ['--dump', disk.path])).stdout.matchAll(/type=([^,\s]+)/g)].map(
        (match) => match[1],
      );
    expect(await types(gpt)).toEqual([
      '21686148-6449-6E6F-744E-656564454649',
      'C12A7328-F81F-11D2-BA4B-00A0C93EC93B',
      '0FC63DAF-8483-4772-8E79-3D69D8477DE4',
    ]);
    expect(await types(mbr)).toEqual(['ef', '83']);
    expect((await readFile(gpt.path)).readUInt32LE(0)).toBe(0xfdebf4fa);
    expect((await readFile(mbr.path)).readUInt32LE(0)).toBe(0);
  });

  it('refuses more files than the disk can hold', async () => {
    await expect(makeDebianLikeDisk(dir, { dataBytes: 70 * MIB })).rejects.toThrow(RangeError);
  });
});

describe(convertDisk.name, () => {
  let disk: DebianLikeDisk;
  let digest: string;
  beforeAll(async () => {
    disk = await makeDebianLikeDisk(dir, { name: 'source' });
    digest = await sha256OfRaw(disk.path);
  });

  it.each(DISK_VARIANTS.filter(({ format }) => !['raw', 'zvhd', 'zvhd2'].includes(format)))(
    'writes $variant so that qemu-img reads the same disk back',
    async ({ variant, format }) => {
      const path = await convertDisk(disk.path, variant);
      const back = `${path}.raw`;
      await run('qemu-img', ['convert', '-f', format === 'vhd' ? 'vpc' : format, '-O', 'raw', path, back]);
      expect(await sha256OfRaw(back)).toBe(digest);
      await Promise.all([rm(path), rm(back)]);
    },
  );

  it.each(['raw', 'zvhd', 'zvhd2'] as const)('writes %s', async (variant) => {
    const path = await convertDisk(disk.path, variant);
    if (variant === 'raw') expect(await sha256OfRaw(path)).toBe(digest);
    else expect((await stat(path)).size).toBeLessThan((await stat(disk.path)).size / 2);
    await rm(path);
  });
});
