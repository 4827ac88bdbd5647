import type { IdentifiedOs } from '@ims/contract';
import { fallbackOsVersion, findOsVersion, findSameRelease, osBitOf, platformOf } from '@ims/domain';
import type { DiskReader } from '../disk-reader';
import { DiskView, UnreadableError } from './disk-view';
import { ExtFileSystem } from './ext-file-system';
import type { FileTree } from './file-tree';
import { FatFileSystem } from './fat-file-system';
import { fileSystemKind, type FileSystemKind } from './file-system-kind';
import { NtfsFileSystem } from './ntfs-file-system';
import { type Partition, type PartitionTable, readPartitionTable } from './partition-table';
import { findRelease, RELEASE_PATHS, type ReleaseFinding } from './release-files';
import { describeWindows, findWindows, type WindowsFinding } from './windows-release';
import { XfsFileSystem } from './xfs-file-system';

type Architecture = 'x86' | 'arm';
type Bits = '32' | '64';

/** No release file is larger; what is longer is cut. */
const RELEASE_BYTES = 16 * 1024;
/** Programs that every Linux system has; their heads tell the processor. */
const PROGRAMS = ['bin/sh', 'usr/bin/env', 'sbin/init'] as const;

/** What looking at a disk has brought to light. */
interface Findings {
  evidence: string[];
  unknown: string[];
  kinds: Set<FileSystemKind>;
  release?: ReleaseFinding;
  windows?: WindowsFinding;
  program?: { architecture: Architecture | undefined; bits: Bits };
  loaders: Set<string>;
  hasBiosBoot: boolean;
  hasEfiSystem: boolean;
}

/**
 * Tells what is installed on a disk and how it starts, by reading a few hundred KiB of it and at most 4 MiB (image-formats 8). A release that the tables
 * list for the architecture gets that name, every other system the fallback `Other_Linux (64_bit)` and so on (CRE-32); what could not be told is
 * said in `unknown` (CRE-33). Linux is read from ext and XFS, Windows from the registry on NTFS. A listed `hints.osVersion` is kept as the caller's word, unless `hints.detectedWins` and the disk holds a system of the
 * tables; a contradiction to it goes into `evidence`. Never throws for a broken disk, only for errors of the store behind the reader and when `signal` aborts.
 *
 * @example const os = await identifyOs(disk, { architecture: 'x86' }); // os.osVersion === 'Debian GNU/Linux 10.2.0 64bit'
 */
export async function identifyOs(
  disk: DiskReader,
  hints: { osVersion?: string; architecture: Architecture; detectedWins?: boolean },
  signal?: AbortSignal,
): Promise<IdentifiedOs> {
  const findings: Findings = {
    evidence: [],
    unknown: [],
    kinds: new Set(),
    loaders: new Set(),
    hasBiosBoot: false,
    hasEfiSystem: false,
  };
  const view = new DiskView(disk, signal);
  await tolerant(findings, 'the disk', () => look(view, findings));
  const found = detectedName(findings, hints.architecture);
  const told = hints.osVersion === undefined ? undefined : findOsVersion(hints.osVersion, hints.architecture);
  const isOverruled = hints.detectedWins === true && found.isListed && told?.name !== found.osVersion;
  if (isOverruled)
    findings.evidence.push(`the caller says "${hints.osVersion ?? ''}", the disk holds "${found.osVersion}"`);
  const listed = isOverruled ? findOsVersion(found.osVersion, hints.architecture) : told;
  if (hints.osVersion !== undefined && listed === undefined) {
    findings.evidence.push(
      `the caller's "${hints.osVersion}" is not a listed name for ${hints.architecture}; not used`,
    );
  } else if (listed !== undefined && listed.name !== found.osVersion) {
    findings.evidence.push(
      `the caller says "${listed.name}", the disk looks like "${found.osVersion}"; the caller's word is kept`,
    );
  }
  const osVersion = listed?.name ?? found.osVersion;
  return {
    osType: listed?.osType ?? found.osType,
    osVersion,
    platform: platformOf(osVersion),
    osBit: osBitOf(osVersion),
    architecture: hints.architecture,
    firmware: decideFirmware(findings, hints.architecture),
    evidence: findings.evidence,
    unknown: findings.unknown,
  };
}

async function look(view: DiskView, findings: Findings): Promise<void> {
  const table = await readPartitionTable(view);
  findings.evidence.push(describeTable(table));
  findings.evidence.push(...table.notes);
  if (table.hasBootCode) {
    findings.hasBiosBoot = true;
    findings.evidence.push('boot code for BIOS in the first sector');
  }
  const partitions: Partition[] =
    table.scheme === 'none' ? [{ number: 0, offset: 0, sizeBytes: view.sizeBytes, role: 'data' }] : table.partitions;
  for (const partition of partitions) {
    const name = partition.number === 0 ? 'the whole disk' : `partition ${partition.number}`;
    await tolerant(findings, name, () => lookInto(view, partition, name, findings));
  }
}

function describeTable({ scheme, partitions }: PartitionTable): string {
  switch (scheme) {
    case 'none':
      return 'no partition table';
    case 'gpt':
    case 'mbr':
      return `${scheme.toUpperCase()} partition table with ${partitions.length} partitions`;
    default:
      return scheme satisfies never;
  }
}

async function lookInto(view: DiskView, partition: Partition, name: string, findings: Findings): Promise<void> {
  if (partition.role === 'bios-boot') {
    findings.hasBiosBoot = true;
    findings.evidence.push(`${name} is a BIOS boot partition`);
    return;
  }
  const kind = await fileSystemKind(view, partition);
  if (kind !== undefined) findings.kinds.add(kind);
  if (partition.role === 'efi-system') {
    findings.hasEfiSystem = true;
    if (kind === 'fat') await lookForLoaders(view, partition, name, findings);
    else findings.unknown.push(`${name} is an EFI system partition without a FAT file system`);
    return;
  }
  switch (kind) {
    case 'ext': {
      const files = await ExtFileSystem.open(view, partition);
      await lookIntoLinux(files, name, findings);
      if (files.needsRecovery) findings.evidence.push(`${name} was not unmounted; its journal was not replayed`);
      return;
    }
    case 'xfs':
      return lookIntoLinux(await XfsFileSystem.open(view, partition), name, findings);
    case 'ntfs':
      findings.evidence.push(`${name} holds NTFS`);
      return lookIntoNtfs(await NtfsFileSystem.open(view, partition), name, findings);
    case 'btrfs':
    case 'lvm':
    case 'luks':
      findings.evidence.push(`${name} holds ${kind}`);
      findings.unknown.push(`${name}: ${kind} is not read`);
      return;
    case 'fat':
    case 'swap':
    case 'iso9660':
      findings.evidence.push(`${name} holds ${kind}`);
      return;
    case undefined:
      findings.unknown.push(`${name} holds no file system that is known`);
      return;
    default:
      return kind satisfies never;
  }
}

async function lookForLoaders(view: DiskView, partition: Partition, name: string, findings: Findings): Promise<void> {
  const fat = await FatFileSystem.open(view, partition);
  for (const loader of ['BOOTX64.EFI', 'BOOTAA64.EFI', 'BOOTIA32.EFI']) {
    if (!(await fat.has(`EFI/BOOT/${loader}`))) continue;
    findings.loaders.add(loader);
    findings.evidence.push(`/EFI/BOOT/${loader} in the EFI system partition (${name})`);
  }
  if (findings.loaders.size === 0) findings.unknown.push(`${name} is an EFI system partition without a default loader`);
}

async function lookIntoLinux(files: FileTree, name: string, findings: Findings): Promise<void> {
  findings.evidence.push(`${name} holds ${files.name}`);
  // The first system found is the one that is described.
  if (findings.release !== undefined) return;
  const texts = new Map<string, string>();
  for (const path of RELEASE_PATHS) {
    await tolerant(findings, `${name}, /${path}`, async () => {
      const bytes = await files.readFile(path, RELEASE_BYTES);
      if (bytes !== undefined) texts.set(path, bytes.toString('utf8'));
    });
  }
  const release = findRelease(texts);
  if (release === undefined) return;
  findings.release = release;
  findings.evidence.push(`${[...texts.keys()].map((path) => `/${path}`).join(', ')} on ${name}: ${release.described}`);
  await tolerant(findings, `${name}, /bin/sh`, () => lookAtPrograms(files, findings));
  await tolerant(findings, `${name}, /usr/bin/cloud-init`, async () => {
    if (await files.has('usr/bin/cloud-init')) findings.evidence.push('cloud-init is installed');
  });
  await tolerant(findings, `${name}, /lib/modules`, () => lookForVirtio(files, findings));
}

/** Modules of Linux by which a server sees its disk and its network, with the ways in which they may be packed. */
const VIRTIO_MODULES = { disk: 'block/virtio_blk', network: 'net/virtio_net' } as const;
const MODULE_ENDS = ['.ko', '.ko.xz', '.ko.zst', '.ko.gz'] as const;
/** More kernels than that are kept by nobody. */
const KERNEL_LIMIT = 4;
/** Lists of what is built into a kernel have some hundred lines. */
const BUILT_IN_BYTES = 64 * 1024;

/** Drivers of the servers here: modules of a kernel, or built into it. What is packed into the first file system that it starts with cannot be seen. */
async function lookForVirtio(files: FileTree, findings: Findings): Promise<void> {
  const kernels = (await files.list('lib/modules')).sort().slice(0, KERNEL_LIMIT);
  if (kernels.length === 0) {
    findings.unknown.push('drivers: no kernel has modules, so what is built into it cannot be told');
    return;
  }
  for (const kernel of kernels) {
    const folder = `lib/modules/${kernel}`;
    const builtIn = (await files.readFile(`${folder}/modules.builtin`, BUILT_IN_BYTES))?.toString('latin1') ?? '';
    for (const [what, module] of Object.entries(VIRTIO_MODULES)) {
      let found = builtIn.includes(`${module}.ko`) ? 'built into' : undefined;
      for (const end of MODULE_ENDS) {
        if (found === undefined && (await files.has(`${folder}/kernel/drivers/${module}${end}`))) found = 'a module of';
      }
      if (found === undefined) findings.unknown.push(`drivers: no virtio driver for the ${what} in kernel ${kernel}`);
      else findings.evidence.push(`virtio driver for the ${what}: ${found} kernel ${kernel}`);
    }
  }
  findings.unknown.push('drivers: what the initial RAM disk holds is not unpacked');
}

/** Drivers of Windows for the disk and the network of a server here (image-formats 8). */
const WINDOWS_DRIVERS: readonly { what: string; files: readonly string[] }[] = [
  { what: 'disk', files: ['viostor.sys', 'vioscsi.sys'] },
  { what: 'network', files: ['netkvm.sys'] },
];

async function lookIntoNtfs(files: NtfsFileSystem, name: string, findings: Findings): Promise<void> {
  // The first system found is the one that is described; a partition of data has none.
  if (findings.windows !== undefined || !(await files.has('Windows/System32'))) return;
  await tolerant(findings, `${name}, registry`, async () => {
    const windows = await findWindows(files);
    if (windows === undefined) return;
    findings.windows = windows;
    findings.evidence.push(`the registry on ${name} says ${describeWindows(windows)}`);
    if (windows.isDirty) findings.evidence.push('the registry was not closed; its log was not replayed');
  });
  await tolerant(findings, `${name}, drivers`, async () => {
    for (const { what, files: drivers } of WINDOWS_DRIVERS) {
      const found: string[] = [];
      for (const driver of drivers) if (await files.has(`Windows/System32/drivers/${driver}`)) found.push(driver);
      if (found.length > 0) findings.evidence.push(`virtio driver for the ${what}: ${found.join(', ')}`);
      else findings.unknown.push(`drivers: no virtio driver for the ${what} in Windows/System32/drivers`);
    }
  });
  await tolerant(findings, `${name}, cloudbase-init`, async () => {
    if (await files.has('Program Files/Cloudbase Solutions/Cloudbase-Init'))
      findings.evidence.push('cloudbase-init is installed');
  });
}

/** Reads the ELF head: class at 4, machine at 18 (System V ABI, chapter 4). */
async function lookAtPrograms(files: FileTree, findings: Findings): Promise<void> {
  for (const path of PROGRAMS) {
    const head = await files.readFile(path, 20);
    if (head === undefined || head.length < 20 || head.toString('latin1', 0, 4) !== '\x7fELF') continue;
    const machine = head.readUInt16LE(18);
    const bits: Bits = head.readUInt8(4) === 1 ? '32' : '64';
    // 3 = i386, 62 = x86-64, 40 = 32-bit ARM, 183 = AArch64.
    const architecture =
      machine === 3 || machine === 62 ? 'x86' : machine === 40 || machine === 183 ? 'arm' : undefined;
    findings.program = { architecture, bits };
    findings.evidence.push(`/${path} is a ${bits}-bit program for ${architecture ?? `machine ${machine}`}`);
    return;
  }
}

function detectedName(
  findings: Findings,
  architecture: Architecture,
): { osType: 'Linux' | 'Windows'; osVersion: string; isListed: boolean } {
  const other = architecture === 'x86' ? 'arm' : 'x86';
  const seen =
    findings.program?.architecture ??
    findings.windows?.architecture ??
    (findings.loaders.size === 1 ? loaderArchitecture(findings) : undefined);
  if (seen === other) findings.evidence.push(`the image is declared for ${architecture}, the disk looks like ${other}`);

  const isLinux = findings.release !== undefined || (!findings.kinds.has('ntfs') && hasLinuxFileSystem(findings));
  if (!isLinux && findings.kinds.has('ntfs')) return detectedWindows(findings, architecture);
  if (!isLinux) findings.unknown.push('operating system: nothing on the disk tells it');
  else if (findings.release === undefined) findings.unknown.push('Linux release: no release file was found');
  const bits = findings.program?.bits ?? '64';
  if (findings.program === undefined) findings.unknown.push('bits: 64 is assumed');
  for (const candidate of findings.release?.candidates ?? []) {
    // A few names (CoreOS) are listed without bits.
    for (const name of [`${candidate} ${bits}bit`, candidate]) {
      if (findOsVersion(name, architecture) !== undefined) return { osType: 'Linux', osVersion: name, isListed: true };
    }
  }
  if (findings.release !== undefined) {
    findings.unknown.push(
      `os version: ${findings.release.described} (${bits}bit, ${architecture}) is not in the tables`,
    );
  }
  return { osType: 'Linux', osVersion: fallbackOsVersion('Linux', bits), isListed: false };
}

function detectedWindows(
  { windows, loaders, unknown }: Findings,
  architecture: Architecture,
): { osType: 'Windows'; osVersion: string; isListed: boolean } {
  const bits = windows?.bits ?? (loaders.has('BOOTIA32.EFI') ? '32' : '64');
  if (windows?.bits === undefined && bits === '64') unknown.push('bits: 64 is assumed');
  for (const candidate of windows?.candidates ?? []) {
    const listed = findSameRelease(candidate, bits, architecture);
    if (listed !== undefined) return { osType: 'Windows', osVersion: listed.name, isListed: true };
  }
  unknown.push(
    windows === undefined
      ? 'Windows release: no registry could be read'
      : `os version: ${describeWindows(windows)} (${bits}bit, ${architecture}) is not in the tables`,
  );
  return { osType: 'Windows', osVersion: fallbackOsVersion('Windows', bits), isListed: false };
}

const loaderArchitecture = ({ loaders }: Findings): Architecture => (loaders.has('BOOTAA64.EFI') ? 'arm' : 'x86');

const hasLinuxFileSystem = ({ kinds }: Findings): boolean =>
  (['ext', 'xfs', 'btrfs', 'lvm'] as const).some((kind) => kinds.has(kind));

/** UEFI needs its partition and a loader; where both ways are open, BIOS is the default (image-formats 8). */
function decideFirmware(findings: Findings, architecture: Architecture): 'bios' | 'uefi' {
  // ARM servers have no BIOS.
  if (architecture === 'arm') return 'uefi';
  const hasUefi = findings.hasEfiSystem && findings.loaders.size > 0;
  if (hasUefi && findings.hasBiosBoot)
    findings.evidence.push('can be started by UEFI and by BIOS; BIOS is the default');
  if (!hasUefi && !findings.hasBiosBoot)
    findings.unknown.push('firmware: neither boot code nor a UEFI loader; BIOS is the default');
  return hasUefi && !findings.hasBiosBoot ? 'uefi' : 'bios';
}

/** Runs one look; damage on the disk becomes a line in `unknown`, everything else is thrown on. */
async function tolerant(findings: Findings, what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    // A number that points out of a structure shows as an index out of its range.
    if (error instanceof RangeError) findings.unknown.push(`${what}: a structure on the disk is damaged`);
    else if (error instanceof UnreadableError) findings.unknown.push(`${what}: ${error.message}`);
    else throw error;
  }
}
