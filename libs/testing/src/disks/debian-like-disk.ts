import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { writeFatVolume } from './fat-writer';
import { noise, prose } from './seeded-content';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const SECTOR_BYTES = 512;
/** sfdisk, mke2fs and debugfs live there on Debian and are not on every user's PATH. */
const TOOL_PATH = '/usr/sbin:/sbin:/usr/bin:/bin';
/** Every time stamp inside the disk (2023-11-14), so that the same options give the same bytes. */
const FAKE_TIME = '1700000000';
/** Room that ext4 needs for its own tables and journal beside the files. */
const FILE_SYSTEM_OVERHEAD = 1.15;

const PARTITION = {
  root: '0FC63DAF-8483-4772-8E79-3D69D8477DE4',
  esp: 'C12A7328-F81F-11D2-BA4B-00A0C93EC93B',
  biosBoot: '21686148-6449-6E6F-744E-656564454649',
} as const;

export interface DebianLikeDiskOptions {
  /** File name without folder and suffix; default `debian-like`. */
  name?: string;
  /** Decides every byte of the files; default `ims`. */
  seed?: string;
  /** Default 64 MiB. A multiple of 1 MiB. */
  virtualSizeBytes?: number;
  /** Bytes of files; default 20 MiB: a third noise, a third text, the rest a copy of the noise. */
  dataBytes?: number;
  /** Default `gpt`. */
  table?: 'gpt' | 'mbr';
  /** What the disk can be started by; default `bios`. `uefi` and `both` add an EFI system partition of `espBytes`. */
  firmware?: 'bios' | 'uefi' | 'both';
  /** Decides the loader's name in the EFI system partition; default `x86`. */
  architecture?: 'x86' | 'arm';
  /** Default 8 MiB (FAT16); from about 34 MiB it becomes FAT32. */
  espBytes?: number;
  /** Default `ext4`; `ext2` has old block maps instead of extents. */
  fileSystem?: 'ext4' | 'ext2';
  /** Text of /usr/lib/os-release; default Debian 10. */
  osRelease?: string;
  /** Further small files, such as `etc/debian_version` (default `10.2`) or `etc/centos-release`; a later one replaces a default. */
  files?: Record<string, string>;
}

export interface DebianLikeDisk {
  /** Raw image. */
  path: string;
  virtualSizeBytes: number;
  rootOffset: number;
  rootSizeBytes: number;
}

const DEBIAN_10 = `PRETTY_NAME="Debian GNU/Linux 10 (buster)"
NAME="Debian GNU/Linux"
VERSION_ID="10"
VERSION="10 (buster)"
VERSION_CODENAME=buster
ID=debian
HOME_URL="https://www.debian.org/"
`;

/**
 * Makes a real, sparse raw disk image in `dir`: partition table, one ext file system with /etc/os-release -> ../usr/lib/os-release,
 * /etc/hostname and files of mixed compressibility. Needs neither root nor a loop device. The same options give the same bytes.
 *
 * @example const disk = await makeDebianLikeDisk(dir, { firmware: 'uefi' });
 */
export async function makeDebianLikeDisk(dir: string, options: DebianLikeDiskOptions = {}): Promise<DebianLikeDisk> {
  const virtualSizeBytes = options.virtualSizeBytes ?? 64 * MIB;
  const dataBytes = options.dataBytes ?? 20 * MIB;
  const firmware = options.firmware ?? 'bios';
  const table = options.table ?? 'gpt';
  const path = join(dir, `${options.name ?? 'debian-like'}.raw`);

  await mkdir(dir, { recursive: true });
  const partitions = plan(table, firmware, options.espBytes ?? 8 * MIB, virtualSizeBytes);
  if (partitions.root.sizeBytes < dataBytes * FILE_SYSTEM_OVERHEAD) {
    throw new RangeError(`${dataBytes} bytes of files do not fit into a disk of ${virtualSizeBytes} bytes`);
  }
  const file = await open(path, 'w');
  try {
    await file.truncate(virtualSizeBytes);
  } finally {
    await file.close();
  }
  await partition(path, table, partitions);
  if (firmware !== 'uefi') await writeBootCode(path);
  if (partitions.esp !== undefined) {
    const loader = options.architecture === 'arm' ? 'BOOTAA64.EFI' : 'BOOTX64.EFI';
    await writeFatVolume(path, partitions.esp.offset, partitions.esp.sizeBytes, {
      path: `EFI/BOOT/${loader}`,
      // "MZ" opens every EFI program; three clusters and a bit make its chain worth following.
      content: Buffer.concat([Buffer.from('MZ'), noise('loader', 1700)]),
    });
  }
  await makeRootFileSystem(path, partitions.root, dataBytes, options);
  return { path, virtualSizeBytes, rootOffset: partitions.root.offset, rootSizeBytes: partitions.root.sizeBytes };
}

interface Span {
  offset: number;
  sizeBytes: number;
}

interface Partitions {
  biosBoot: Span | undefined;
  esp: Span | undefined;
  root: Span;
}

function plan(table: 'gpt' | 'mbr', firmware: string, espBytes: number, diskBytes: number): Partitions {
  let next = MIB;
  const take = (sizeBytes: number): Span => {
    const span = { offset: next, sizeBytes };
    next += sizeBytes;
    return span;
  };
  const biosBoot = table === 'gpt' && firmware !== 'uefi' ? take(MIB) : undefined;
  const esp = firmware === 'bios' ? undefined : take(espBytes);
  // The second copy of a GPT lies at the disk's end; a MiB keeps the root aligned.
  const root = take(diskBytes - next - MIB);
  return { biosBoot, esp, root };
}

async function partition(path: string, table: 'gpt' | 'mbr', { biosBoot, esp, root }: Partitions): Promise<void> {
  const line = (span: Span | undefined, gptType: string, mbrType: string, uuid: string): string =>
    span === undefined
      ? ''
      : `start=${span.offset / SECTOR_BYTES}, size=${span.sizeBytes / SECTOR_BYTES}, ` +
        (table === 'gpt' ? `type=${gptType}, uuid=${uuid}\n` : `type=${mbrType}\n`);
  const script =
    (table === 'gpt'
      ? 'label: gpt\nlabel-id: 11111111-2222-4333-8444-555555555555\n'
      : 'label: dos\nlabel-id: 0x494d5301\n') +
    line(biosBoot, PARTITION.biosBoot, 'da', '22222222-2222-4333-8444-555555555555') +
    line(esp, PARTITION.esp, 'ef', '33333333-2222-4333-8444-555555555555') +
    line(root, PARTITION.root, '83', '44444444-2222-4333-8444-555555555555');
  const sfdisk = run('sfdisk', ['--no-reread', '--no-tell-kernel', '--quiet', path], { env: { PATH: TOOL_PATH } });
  sfdisk.child.stdin?.end(script);
  await sfdisk;
}

/** `cli; hlt; jmp -3`: starts nothing, but is code where firmware looks for code. */
async function writeBootCode(path: string): Promise<void> {
  const disk = await open(path, 'r+');
  try {
    await disk.write(Buffer.from([0xfa, 0xf4, 0xeb, 0xfd]), 0, 4, 0);
  } finally {
    await disk.close();
  }
}

async function makeRootFileSystem(
  path: string,
  root: Span,
  dataBytes: number,
  options: DebianLikeDiskOptions,
): Promise<void> {
  const env = { PATH: TOOL_PATH, E2FSPROGS_FAKE_TIME: FAKE_TIME };
  const fixed = 'hash_seed=55555555-2222-4333-8444-555555555555,lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0';
  await run(
    'mke2fs',
    [
      ...['-q', '-F', '-t', options.fileSystem ?? 'ext4', '-b', '4096', '-L', 'root'],
      ...['-U', '66666666-2222-4333-8444-555555555555', '-E', `offset=${root.offset},${fixed}`],
      ...[path, `${root.sizeBytes / 1024}k`],
    ],
    { env },
  );
  const files = rootFiles(dataBytes, options);
  // debugfs instead of `mke2fs -d`: the latter takes over owners and change times of the host's files.
  const staging = await mkdtemp(`${path}.files-`);
  try {
    const commands: string[] = [];
    const folders = new Set<string>();
    let count = 0;
    for (const [name, content] of files) {
      const parts = name.split('/');
      for (let depth = 1; depth < parts.length; depth++) {
        const folder = parts.slice(0, depth).join('/');
        if (!folders.has(folder)) commands.push(`mkdir ${folder}`);
        folders.add(folder);
      }
      if ('linkTo' in content) commands.push(`symlink ${name} ${content.linkTo}`);
      else {
        const staged = `f${count++}`;
        await writeFile(join(staging, staged), content.bytes);
        commands.push(`write ${staged} ${name}`);
      }
    }
    await writeFile(join(staging, 'commands'), commands.join('\n') + '\n');
    const target = `${path}?offset=${root.offset}`;
    const { stderr } = await run('debugfs', ['-w', '-f', 'commands', target], { env, cwd: staging });
    // It exits with 0 whatever happened; beside its version line it only writes complaints there.
    const complaint = stderr.replace(/^debugfs [\d.]+ .*\n/, '').trim();
    if (complaint !== '') throw new Error(`debugfs on ${path}: ${complaint}`);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

type Content = { bytes: Buffer } | { linkTo: string };

function rootFiles(dataBytes: number, options: DebianLikeDiskOptions): Map<string, Content> {
  const seed = options.seed ?? 'ims';
  const text = (content: string): Content => ({ bytes: Buffer.from(content) });
  const files = new Map<string, Content>([
    ['usr/lib/os-release', text(options.osRelease ?? DEBIAN_10)],
    ['etc/os-release', { linkTo: '../usr/lib/os-release' }],
    ['etc/hostname', text('debian-like\n')],
    ['etc/debian_version', text('10.2\n')],
    ['usr/bin/cloud-init', text('#!/usr/bin/python3\n')],
  ]);
  for (const [name, content] of Object.entries(options.files ?? {})) files.set(name, text(content));
  const third = Math.floor(dataBytes / 3);
  files.set('usr/lib/modules.img', { bytes: noise(`${seed}:noise`, third) });
  files.set('usr/share/words.txt', { bytes: prose(`${seed}:prose`, third) });
  files.set('var/backups/modules.img', { bytes: noise(`${seed}:noise`, dataBytes - 2 * third) });
  return files;
}
