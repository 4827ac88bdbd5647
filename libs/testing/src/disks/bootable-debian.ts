import { execFile } from 'node:child_process';
import { open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const SECTOR_BYTES = 512;
const BLOCK_BYTES = 4096;
/** The tools live there on Debian and are not all on every user's PATH. */
const TOOL_PATH = '/usr/sbin:/sbin:/usr/bin:/bin';
const MBR_CODE = '/usr/lib/syslinux/mbr/mbr.bin';
// What a master boot record has before its partition table.
const MBR_CODE_BYTES = 440;

const DISK_MIB = 1536;
/** Kernel, initial RAM disk and loader, as FAT because the loader's installer writes that into a plain file without a mount. */
const BOOT = { startSector: 2048, sectors: 262_144 };
const ROOT_START_SECTOR = BOOT.startSector + BOOT.sectors;
const ROOT_UUID = '44444444-2222-4333-8444-555555555555';
const PACKAGES = 'linux-image-cloud-amd64,systemd-sysv,udev,login';
// Half a minute on a quick line.
const BOOTSTRAP_DEADLINE_MS = 10 * 60_000;

/** What making a Debian needs and this machine lacks; empty when nothing is missing. */
export async function missingForDebian(): Promise<string[]> {
  const tools = {
    mmdebstrap: 'mmdebstrap',
    syslinux: 'syslinux',
    mcopy: 'mtools',
    sfdisk: 'fdisk',
    mke2fs: 'e2fsprogs',
  };
  const missing: string[] = [];
  for (const [tool, debianPackage] of Object.entries(tools)) {
    const found = await run('which', [tool], { env: { PATH: TOOL_PATH } }).then(
      () => true,
      () => false,
    );
    if (!found) missing.push(debianPackage);
  }
  return missing;
}

/**
 * Makes a raw disk with a real Debian 12 that boots by BIOS and says `login:` on its first serial line. The packages come from Debian's
 * archive, so this needs a network, and root, because files of a system belong to root.
 *
 * @example const raw = await makeBootableDebian(await temporaryDirectory());
 */
export async function makeBootableDebian(dir: string): Promise<string> {
  const options = { env: { ...process.env, PATH: TOOL_PATH }, cwd: dir, maxBuffer: 64 * MIB };
  const root = join(dir, 'root');
  const path = join(dir, 'debian-12.raw');
  await run('mmdebstrap', ['--quiet', '--variant=minbase', `--include=${PACKAGES}`, 'bookworm', root], {
    ...options,
    timeout: BOOTSTRAP_DEADLINE_MS,
  });
  await writeFile(path, '');
  await truncate(path, DISK_MIB * MIB);
  const layout =
    'label: dos\nlabel-id: 0x494d5301\n' +
    `start=${BOOT.startSector}, size=${BOOT.sectors}, type=c, bootable\nstart=${ROOT_START_SECTOR}, type=83\n`;
  const sfdisk = run('sfdisk', ['--no-reread', '--no-tell-kernel', '--quiet', path], options);
  sfdisk.child.stdin?.end(layout);
  await sfdisk;
  await writeAt(path, 0, (await readFile(MBR_CODE)).subarray(0, MBR_CODE_BYTES));

  const bootVolume = `${path}@@${BOOT.startSector * SECTOR_BYTES}`;
  const geometry = ['-T', String(BOOT.sectors), '-h', '255', '-s', '63', '-H', String(BOOT.startSector)];
  await run('mformat', ['-i', bootVolume, '-F', ...geometry, '::'], options);
  await writeFile(
    join(dir, 'syslinux.cfg'),
    'SERIAL 0 115200\nDEFAULT debian\nLABEL debian\n  LINUX /vmlinuz\n  INITRD /initrd.img\n' +
      `  APPEND root=UUID=${ROOT_UUID} rw console=ttyS0 quiet systemd.show_status=0\n`,
  );
  // Links of the root directory to the one kernel that was installed.
  await run('mcopy', ['-i', bootVolume, join(root, 'vmlinuz'), '::/vmlinuz'], options);
  await run('mcopy', ['-i', bootVolume, join(root, 'initrd.img'), '::/initrd.img'], options);
  await run('mcopy', ['-i', bootVolume, join(dir, 'syslinux.cfg'), '::/syslinux.cfg'], options);
  await run('syslinux', ['--install', '--offset', String(BOOT.startSector * SECTOR_BYTES), path], options);

  const rootBlocks = (DISK_MIB * MIB - ROOT_START_SECTOR * SECTOR_BYTES) / BLOCK_BYTES;
  const where = `offset=${ROOT_START_SECTOR * SECTOR_BYTES}`;
  await run(
    'mke2fs',
    [
      '-q',
      '-F',
      '-t',
      'ext4',
      '-b',
      String(BLOCK_BYTES),
      '-U',
      ROOT_UUID,
      '-d',
      root,
      '-E',
      where,
      path,
      String(rootBlocks),
    ],
    options,
  );
  await rm(root, { recursive: true });
  return path;
}

async function writeAt(path: string, offset: number, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.write(bytes, 0, bytes.length, offset);
  } finally {
    await file.close();
  }
}
