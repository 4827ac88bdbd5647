import { type BackupLine, type CreateImageRequest, type CreateWholeImageRequest, ImsError } from '@ims/contract';
import { type Architecture, type OsVersion, canBootUefi, findOsVersion, MAX_RAM_OF_32_BIT_MIB } from '../os/os-version';

/** What an image is made of, told by the source field that is present (ims-api 6.2). */
export const CREATE_SCENARIOS = ['server', 'server-volumes', 'volume', 'file', 'iso'] as const;
export type CreateScenario = (typeof CREATE_SCENARIOS)[number];

/** `__virtual_env_type`'s values for images of a create call (ims-api 2.2). */
export type VirtualEnvType = 'FusionCompute' | 'Ironic' | 'IsoImage' | 'DataImage';

/**
 * Which call asks: the general one (ims-api 6.2), the one for data disks (6.4), quick import (6.3) or the one for whole servers (6.5). The last two
 * are no calls but elements of `data_images` of the general one: a disk of a server (6.2 B) or a file beside that of the system disk (6.2 C).
 */
export type CreateDoor =
  'images' | 'data-images' | 'quick-import' | 'whole-images' | 'data-disk-element' | 'data-file-element';

/** What is to be made, as far as the call and its `type` tell. Every difference between the calls is in here. */
export interface CreatePlan {
  virtualEnvType: VirtualEnvType;
  kind: 'system' | 'data';
  quickImport: boolean;
  source: 'file' | 'iso-file' | 'server' | 'backup' | 'whole-server' | 'volume' | 'data-disk';
  /** A data disk that comes with a system disk in one call. */
  isBesideSystem?: boolean;
  /** Type of the job, as job documents name it (ims-api 10.4). */
  jobType:
    | 'imsImportImageJob'
    | 'imsImportDataImageJob'
    | 'imsCreateImageByInstance'
    | 'imsCreateWholeImageByBackupJob'
    | 'imsCreateWholeImageByInstanceJob'
    | 'imsVolumeCreateImageJob'
    | 'imsCopyVolumeToImageJob';
}

/** Decides what a call makes; fails like `scenarioOf` and `virtualEnvTypeOf`, for quick imports with IMG.0157. */
export function planOf(door: CreateDoor, request: CreateImageRequest & WholeImageSource): CreatePlan {
  switch (door) {
    case 'images':
      return planOfGeneralCall(request);
    case 'data-images':
      return {
        virtualEnvType: 'DataImage',
        kind: 'data',
        quickImport: false,
        source: 'file',
        jobType: 'imsImportDataImageJob',
      };
    case 'quick-import': {
      const virtualEnvType = quickTypeOf(request.type);
      const kind = virtualEnvType === 'DataImage' ? 'data' : 'system';
      return { virtualEnvType, kind, quickImport: true, source: 'file', jobType: 'imsImportImageJob' };
    }
    case 'whole-images': {
      const { kind } = wholeImageSourceOf(request);
      return {
        virtualEnvType: 'FusionCompute',
        kind: 'system',
        quickImport: false,
        source: kind,
        jobType: kind === 'backup' ? 'imsCreateWholeImageByBackupJob' : 'imsCreateWholeImageByInstanceJob',
      };
    }
    case 'data-disk-element':
      return {
        virtualEnvType: 'DataImage',
        kind: 'data',
        quickImport: false,
        source: 'data-disk',
        jobType: 'imsCopyVolumeToImageJob',
      };
    case 'data-file-element':
      return {
        virtualEnvType: 'DataImage',
        kind: 'data',
        quickImport: request.is_quick_import === true,
        source: 'file',
        isBesideSystem: true,
        jobType: 'imsImportDataImageJob',
      };
    default:
      return door satisfies never;
  }
}

/** The fields by which a request names a whole server. */
export type WholeImageSource = Partial<
  Pick<CreateWholeImageRequest, 'instance_id' | 'vault_id' | 'backup_id' | 'whole_image_type'>
>;

/** What a whole image is to be made from. */
export type WholeImageOrigin =
  { kind: 'backup'; id: string; line: BackupLine } | { kind: 'whole-server'; serverId: string; vaultId: string };

/**
 * The backup or the server that a whole image is to be made from. A backup is of CSBS unless the request says CBR; a server needs a vault, since CSBS
 * takes no new backups (ims-api 6.5). Fails with IMG.0001 for two sources or an unknown type, IMG.0019 without any, IMG.0184 without a vault.
 */
export function wholeImageSourceOf(request: WholeImageSource): WholeImageOrigin {
  const { instance_id: serverId, vault_id: vaultId, backup_id: id, whole_image_type: type = 'CSBS' } = request;
  if (serverId !== undefined && id !== undefined)
    throw new ImsError('IMG.0001', 'give one of instance_id and backup_id');
  if (serverId !== undefined) {
    if (vaultId === undefined || vaultId === '')
      throw new ImsError('IMG.0184', 'vault_id names the vault of the backup');
    return { kind: 'whole-server', serverId, vaultId };
  }
  if (id === undefined || id === '') throw new ImsError('IMG.0019');
  if (type !== 'CBR' && type !== 'CSBS') throw new ImsError('IMG.0001', 'whole_image_type must be CBR or CSBS');
  return { kind: 'backup', id, line: type };
}

function planOfGeneralCall(request: CreateImageRequest): CreatePlan {
  // Several images are decided one by one, each as an element of its own (image-batch.decider.ts).
  if ((request.data_images?.length ?? 0) > 0) throw new TypeError('a call for several images has no plan of one');
  const scenario = scenarioOf(request);
  const virtualEnvType = virtualEnvTypeOf(request.type);
  const system = { virtualEnvType, kind: 'system', quickImport: false } as const;
  switch (scenario) {
    case 'server':
    case 'volume':
      // Only a file can be an installation medium.
      if (virtualEnvType === 'IsoImage') throw new ImsError('IMG.0117', `a ${scenario} is no ISO file`);
      return {
        ...system,
        source: scenario,
        jobType: scenario === 'server' ? 'imsCreateImageByInstance' : 'imsVolumeCreateImageJob',
      };
    case 'file':
    case 'iso': {
      const quickImport = request.is_quick_import === true;
      if (quickImport && scenario === 'iso') throw new ImsError('IMG.0157', 'an ISO image cannot be imported quickly');
      const source = scenario === 'iso' ? 'iso-file' : 'file';
      return { ...system, quickImport, source, jobType: 'imsImportImageJob' };
    }
    case 'server-volumes':
      throw new ImsError('IMG.0120', 'data_images names no disk');
    default:
      return scenario satisfies never;
  }
}

/** `type` of the quick-import call: ECS (default), BMS or DataImage (ims-api 6.3). */
function quickTypeOf(type: string | undefined): VirtualEnvType {
  switch (type) {
    case 'DataImage':
      return 'DataImage';
    case undefined:
    case 'ECS':
    case 'FusionCompute':
    case 'BMS':
    case 'Ironic':
      return virtualEnvTypeOf(type);
    default:
      throw new ImsError('IMG.0157', 'type must be ECS, BMS or DataImage');
  }
}

/** Exactly one source: fails with IMG.0001 for two, IMG.0012 for none (a server is what is meant when nothing is said). */
export function scenarioOf(request: CreateImageRequest): CreateScenario {
  const sources = [request.instance_id, request.volume_id, request.image_url].filter((source) => source !== undefined);
  if (sources.length > 1) throw new ImsError('IMG.0001', 'give one of instance_id, volume_id and image_url');
  if (request.volume_id !== undefined && request.data_images !== undefined)
    throw new ImsError('IMG.0001', 'data_images cannot go with volume_id');
  if (request.instance_id !== undefined) {
    if (request.data_images !== undefined) throw new ImsError('IMG.0001', 'data_images cannot go with instance_id');
    if (request.instance_id === '') throw new ImsError('IMG.0012');
    return 'server';
  }
  if (request.image_url !== undefined) return request.type === 'IsoImage' ? 'iso' : 'file';
  if (request.volume_id !== undefined) return 'volume';
  if (request.data_images !== undefined) return 'server-volumes';
  throw new ImsError('IMG.0012');
}

/** `type`: ECS (default) and BMS under either of their names, or IsoImage. Fails with IMG.0117 for another kind of image, else IMG.0024. */
export function virtualEnvTypeOf(type: string | undefined): VirtualEnvType {
  switch (type) {
    case undefined:
    case 'ECS':
    case 'FusionCompute':
      return 'FusionCompute';
    case 'BMS':
    case 'Ironic':
      return 'Ironic';
    case 'IsoImage':
      return 'IsoImage';
    case 'DataImage':
      throw new ImsError('IMG.0117');
    default:
      throw new ImsError('IMG.0024');
  }
}

const DISK_RANGE_GIB = {
  // ims-api 20 row 9: the floor of newer documents (older ones say 40); 1 TB is the largest system disk.
  system: { min: 1, max: 1024 },
  // CRE-15.
  data: { min: 40, max: 2048 },
  // ims-api 6.2 C: a data disk that comes with a system disk may be smaller.
  'beside-system': { min: 1, max: 2048 },
} as const;

/** Which limits `min_disk` has. */
type MinDiskRange = keyof typeof DISK_RANGE_GIB;

/** System disk in GB, 1 to 1024, data disk, 40 to 2048 (CRE-15), or data disk beside a system disk, 1 to 2048; fails with IMG.0055. */
export function checkMinDisk(minDiskGib: number | undefined, range: MinDiskRange): number {
  const { min, max } = DISK_RANGE_GIB[range];
  if (minDiskGib === undefined || !Number.isInteger(minDiskGib) || minDiskGib < min || minDiskGib > max) {
    throw new ImsError('IMG.0055', `min_disk must be ${min} to ${max} GB`);
  }
  return minDiskGib;
}

/** CRE-27: x86 (default) or arm; fails with IMG.0212. */
export function checkArchitecture(architecture: string | undefined): Architecture {
  switch (architecture) {
    case undefined:
    case 'x86':
      return 'x86';
    case 'arm':
      return 'arm';
    default:
      throw new ImsError('IMG.0212');
  }
}

/** OS-15, OS-16: a name of the lists for this architecture; fails with IMG.0056. */
export function checkOsVersion(name: string | undefined, architecture: Architecture): OsVersion | undefined {
  if (name === undefined) return undefined;
  const version = findOsVersion(name, architecture);
  if (version === undefined) throw new ImsError('IMG.0056', `not a listed system for architecture ${architecture}`);
  return version;
}

/** `Linux`, `Windows` or `Other`; fails with IMG.0122. */
export function checkOsType(osType: string | undefined): 'Linux' | 'Windows' | 'Other' | undefined {
  switch (osType) {
    case undefined:
    case 'Linux':
    case 'Windows':
    case 'Other':
      return osType;
    default:
      throw new ImsError('IMG.0122', 'os_type must be Linux, Windows or Other');
  }
}

/** ims-api 6.4: what a data disk was formatted for, `Linux` (default) or `Windows`; fails with IMG.0122. */
export function checkDataOsType(osType: string | undefined): 'Linux' | 'Windows' {
  switch (osType) {
    case undefined:
    case 'Linux':
      return 'Linux';
    case 'Windows':
      return 'Windows';
    default:
      throw new ImsError('IMG.0122', 'os_type of a data disk must be Linux or Windows');
  }
}

/** ims-api 6.3: `platform` or `byol`, for Windows alone; fails with IMG.0001. */
export function checkLicenseType(licenseType: string | undefined, osType: string | undefined): void {
  if (licenseType === undefined || licenseType === '') return;
  if (licenseType !== 'platform' && licenseType !== 'byol')
    throw new ImsError('IMG.0001', 'license_type must be platform or byol');
  if (osType !== 'Windows') throw new ImsError('IMG.0001', 'license_type is for Windows only');
}

/** OS-17, OS-18: arm always boots UEFI (ims-api 6.1); on x86 only the systems of table 7-9 can. Fails with IMG.0141. */
export function decideFirmware(
  wanted: string | undefined,
  architecture: Architecture,
  osVersion: OsVersion | undefined,
): 'bios' | 'uefi' | undefined {
  if (wanted !== undefined && wanted !== 'bios' && wanted !== 'uefi') throw new ImsError('IMG.0141');
  if (architecture === 'arm') return 'uefi';
  if (wanted === 'uefi' && osVersion !== undefined && !canBootUefi(osVersion.name)) {
    throw new ImsError('IMG.0141', `${osVersion.name} cannot boot UEFI`);
  }
  return wanted;
}

/** Memory bounds in MB, 0 or absent meaning none; the cap of a 32-bit system is 4 GB. Fails with IMG.0055. */
export function decideMemory(
  request: { min_ram?: number | undefined; max_ram?: number | undefined },
  osVersion: OsVersion | undefined,
): { minRamMib: number; maxRamMib: number | undefined } {
  const minRamMib = request.min_ram ?? 0;
  const wanted = request.max_ram === 0 ? undefined : request.max_ram;
  const cap = osVersion?.osBit === '32' ? MAX_RAM_OF_32_BIT_MIB : undefined;
  const maxRamMib = wanted === undefined ? cap : Math.min(wanted, cap ?? wanted);
  if (minRamMib < 0 || (maxRamMib !== undefined && maxRamMib < minRamMib)) {
    throw new ImsError('IMG.0055', 'min_ram must not exceed max_ram');
  }
  return { minRamMib, maxRamMib };
}

/** `0` (the default project) or a UUID (ims-api 2.1); fails with IMG.0155. */
export function checkEnterpriseProject(id: string | undefined): string {
  if (id === undefined || id === '' || id === '0') return '0';
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) throw new ImsError('IMG.0155', 'it must be 0 or a UUID');
  return id;
}
