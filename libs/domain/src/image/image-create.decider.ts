import {
  type BackupLine,
  type CreateImageRequest,
  type DiskOfSet,
  type ImageAttributes,
  type ImageCreateInput,
  type ImageId,
  type ImageLineage,
  type ImageSource,
  ImsError,
  type JobId,
  type ProjectId,
  type QuickImportRequest,
  imageStream,
  jobCheckpointId,
  quotaStream,
  stepsOfImage,
} from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { jobAccepted } from '../job/job-accepted';
import type { Architecture } from '../os/os-version';
import { DEFAULT_QUOTA, type QuotaState, checkQuota } from '../quota/quota.rules';
import {
  checkArchitecture,
  checkDataOsType,
  checkEnterpriseProject,
  checkLicenseType,
  checkMinDisk,
  checkOsType,
  checkOsVersion,
  type CreateDoor,
  type CreatePlan,
  decideFirmware,
  decideMemory,
  planOf,
  wholeImageSourceOf,
  type VirtualEnvType,
  type WholeImageSource,
} from './image-create.rules';
import { decideKey, encryptedBy } from './image-key.rules';
import { checkDescription, checkImageName } from './image-name';
import { DEFAULT_MAX_TAGS, decideTags } from './image-tags';
import { parseImageUrl } from './image-url';

export interface CreateImageState {
  imageQuota: QuotaState;
  createTaskQuota: QuotaState;
  /** Set by the caller only where the operator forbids two images of one name (ims-api 20 row 5). */
  isNameTaken?: boolean;
}

/** What of a server matters to the image of its system disk; the caller has checked that it may be imaged. */
export interface SourceServer {
  id: string;
  isBareMetal: boolean;
  architecture: Architecture;
  /** Size of its system disk, GiB. */
  systemDiskGib: number;
  /** The image it was made from. */
  imageId: string | null;
}

/** What of a backup matters to the image of the server in it; the caller has checked that it may be imaged. */
export interface SourceBackup {
  id: string;
  line: BackupLine;
  architecture: Architecture;
  /** Size of the system disk in it, GiB. */
  systemDiskGib: number;
  /** The image that the server was made from. */
  imageId: string | null;
  /** Whether one of its disks is encrypted. */
  isEncrypted: boolean;
}

/** What of a server matters to the image of all its disks; the caller has checked that it may be backed up into the vault. */
export interface SourceWholeServer {
  id: string;
  vaultId: string;
  architecture: Architecture;
  /** Size of its system disk, GiB. */
  systemDiskGib: number;
  /** Of all its disks, GiB. */
  sizeGib: number;
  /** The image it was made from. */
  imageId: string | null;
  /** Whether one of its disks is encrypted. */
  isEncrypted: boolean;
}

/** What of a disk matters to its image; the caller has checked that it may be imaged. */
export interface SourceVolume {
  id: string;
  sizeGib: number;
  /** That of the server that has it; `null` for a disk of none. */
  architecture: Architecture | null;
  /** The image that it, or the server of which it is the system disk, was made from. */
  imageId: string | null;
}

export interface CreateImageCommand {
  projectId: ProjectId;
  /** Fresh ids; the workflow and both streams are named after them. */
  jobId: JobId;
  imageId: ImageId;
  request: CreateImageRequest & Pick<QuickImportRequest, 'license_type'> & WholeImageSource;
  /** Which call the request came by; the general one when left out. */
  door?: CreateDoor;
  /** The server that `instance_id` names; absent when there is none. */
  server?: SourceServer;
  /** The backup that `backup_id` names; absent when there is none. */
  backup?: SourceBackup;
  /** The server that `instance_id` names for an image of all its disks; absent when there is none. */
  wholeServer?: SourceWholeServer;
  /** The disk that `volume_id` names; absent when there is none. */
  volume?: SourceVolume;
  /** The disks that are to show the same moment as this one, itself among them, for an element of `data_images` (ims-api 6.2 B). */
  set?: readonly DiskOfSet[];
  /** The job of the system disk that this data disk comes with (ims-api 6.2 C). */
  systemJobId?: JobId;
  /** The job that this one is a part of. */
  parentJobId?: JobId;
  /** What the image inherits from the one that its source came from. */
  lineage?: ImageLineage;
  /** MGT-03: 10 by default, 20 by newer documents. */
  maxTags?: number;
}

export interface CreateImageDecision {
  events: DomainEvent[];
  /** Input of the saga that makes the image. */
  input: ImageCreateInput;
}

/**
 * Decides on a create call: the events of an accepted job, or an `ImsError` with the documented code. Rules about the request come
 * before quotas, so a caller at its limit still learns what else is wrong. Nothing is read or written here.
 *
 * @example const { events, input } = decideCreateImage(state, { projectId, jobId, imageId, request });
 */
export function decideCreateImage(state: CreateImageState, command: CreateImageCommand): CreateImageDecision {
  const { projectId, jobId, imageId, request } = command;
  const plan = planOf(command.door ?? 'images', request);
  const name = checkImageName(request.name);
  const description = checkDescription(request.description ?? '');
  const tags = decideTags(request, command.maxTags ?? DEFAULT_MAX_TAGS);
  const decided = decideSource(command, plan);
  const { source, minDiskGib, virtualEnvType } = decided;
  const guest = plan.kind === 'data' ? decideData(request, plan) : decideSystem(request, plan, decided);
  const enterpriseProjectId = checkEnterpriseProject(request.enterprise_project_id);
  const cmkId = decideKey(request.cmk_id, virtualEnvType);
  const bootCheck = decideBootCheck(request.boot_check, plan, virtualEnvType, cmkId);
  if (state.isNameTaken === true) throw new ImsError('IMG.0009');
  checkQuota(state.imageQuota, DEFAULT_QUOTA.image, 'IMG.0015');
  checkQuota(state.createTaskQuota, DEFAULT_QUOTA.create_task, 'IMG.0060');

  // Default attributes (ims-api 2.4), keyed by wire name. What inspection finds is added when the image is published.
  const attributes: ImageAttributes = {
    virtual_env_type: virtualEnvType,
    enterprise_project_id: enterpriseProjectId,
    __isregistered: 'true',
    __image_source_type: 'uds',
    ...decided.attributes,
    __description: description,
    ...guest.attributes,
    ...productCodeOf(command.lineage),
    ...encryptedBy(cmkId),
  };
  const events: DomainEvent[] = [
    jobAccepted(jobId, {
      jobType: plan.jobType,
      saga: 'image-create',
      imageId,
      imageName: name,
      request,
      steps: stepsOfImage({ source, ...bootCheck }),
      ...(command.parentJobId === undefined ? {} : { parentJobId: command.parentJobId }),
    }),
    {
      type: 'image.queued',
      stream: imageStream(imageId),
      key: 'queued',
      data: {
        name,
        diskFormat: virtualEnvType === 'IsoImage' ? 'iso' : 'zvhd2',
        minDiskGib,
        minRamMib: guest.minRamMib,
        tags,
        attributes,
        ...(command.lineage === undefined ? {} : { lineage: command.lineage }),
      },
    },
    {
      type: 'quota.reserved',
      stream: quotaStream(projectId, 'image'),
      key: `reserve:${imageId}`,
      data: { resource: 'image', amount: 1, holder: imageId },
    },
    {
      type: 'quota.reserved',
      stream: quotaStream(projectId, 'create_task'),
      key: `reserve:${jobId}`,
      data: { resource: 'create_task', amount: 1, holder: jobId },
    },
  ];
  const input: ImageCreateInput = {
    jobId,
    epoch: 1,
    projectId,
    imageId,
    imageName: name,
    source,
    minDiskGib,
    ...(guest.osVersion === undefined ? {} : { osVersion: guest.osVersion }),
    ...(source.kind === 'volume' ? { detectedOsWins: true } : {}),
    architecture: guest.architecture,
    kind: plan.kind,
    ...(command.systemJobId === undefined ? {} : { systemJobId: command.systemJobId }),
    quickImport: plan.quickImport,
    ...bootCheck,
    existing: false,
    ...(cmkId === undefined ? {} : { cmkId }),
  };
  return { events, input };
}

/** BIL-08: what descends from a marketplace image goes on being sold by its code. */
const productCodeOf = (lineage: ImageLineage | undefined): ImageAttributes =>
  lineage?.productCode == null ? {} : { __productcode: lineage.productCode };

/** Whether a system disk image is to be seen booting before it can be used; what is no disk of a system boots nowhere. */
function decideBootCheck(
  wish: CreateImageRequest['boot_check'],
  plan: CreatePlan,
  virtualEnvType: VirtualEnvType,
  cmkId: string | undefined,
): Pick<ImageCreateInput, 'bootCheck'> {
  if (wish === undefined || wish === false) return {};
  // The machine would write what it reads into the open.
  if (cmkId !== undefined) throw new ImsError('IMG.0105', 'an encrypted image is not booted');
  if (plan.kind === 'data' || virtualEnvType === 'IsoImage')
    throw new ImsError('IMG.0001', 'boot_check is for images of system disks');
  if (wish === '') throw new ImsError('IMG.0001', 'boot_check is true, false or the text that must be seen');
  return { bootCheck: { expect: wish === true ? null : wish } };
}

/** Where the bytes come from and what that alone says about the image. */
interface DecidedSource {
  source: ImageSource;
  minDiskGib: number;
  virtualEnvType: VirtualEnvType;
  /** The server's own; a file's is the caller's to say, and not checked yet. */
  architecture: string | undefined;
  attributes: ImageAttributes;
}

function decideSource(command: CreateImageCommand, plan: CreatePlan): DecidedSource {
  const { request, server, backup, wholeServer } = command;
  switch (plan.source) {
    case 'file':
    case 'iso-file': {
      const file = parseImageUrl(request.image_url ?? '');
      return {
        source: { kind: plan.source === 'iso-file' ? 'iso-file' : 'bucket-file', file },
        minDiskGib: checkMinDisk(request.min_disk, plan.isBesideSystem === true ? 'beside-system' : plan.kind),
        virtualEnvType: plan.virtualEnvType,
        architecture: request.architecture,
        attributes: { __root_origin: 'file', __data_origin: `file,${file.bucket}:${file.key}` },
      };
    }
    case 'server':
      if (server === undefined) throw new ImsError('IMG.0005', 'there is no such server in this project');
      return {
        source: { kind: 'server', serverId: server.id },
        minDiskGib: server.systemDiskGib,
        virtualEnvType: server.isBareMetal ? 'Ironic' : 'FusionCompute',
        architecture: server.architecture,
        attributes: { __data_origin: `instance,${server.id}`, __originalimagename: server.imageId ?? '' },
      };
    case 'backup': {
      const origin = wholeImageSourceOf(request);
      if (origin.kind !== 'backup') throw new TypeError('the plan names a backup, its request a server');
      const { id, line } = origin;
      if (backup === undefined)
        throw new ImsError(line === 'CBR' ? 'IMG.0020' : 'IMG.0127', 'there is no such backup in this project');
      // Its bytes would lie in the open.
      if (backup.isEncrypted) throw new ImsError('IMG.0105', 'images of encrypted disks');
      return {
        source: { kind: 'backup', backupId: id, line },
        minDiskGib: backup.systemDiskGib,
        virtualEnvType: plan.virtualEnvType,
        architecture: backup.architecture,
        attributes: {
          __whole_image: 'true',
          __backup_id: id,
          __data_origin: `server_backup,${id}`,
          __originalimagename: backup.imageId ?? '',
        },
      };
    }
    case 'whole-server': {
      if (wholeServer === undefined) throw new ImsError('IMG.0137', 'there is no such server in this project');
      // Its bytes would lie in the open.
      if (wholeServer.isEncrypted) throw new ImsError('IMG.0105', 'images of encrypted disks');
      const { id, vaultId } = wholeServer;
      return {
        source: { kind: 'whole-server', serverId: id, vaultId, checkpointId: jobCheckpointId(command.jobId) },
        minDiskGib: wholeServer.systemDiskGib,
        virtualEnvType: plan.virtualEnvType,
        architecture: wholeServer.architecture,
        // The backup is named when the image is published: it is not there yet.
        attributes: {
          __whole_image: 'true',
          __data_origin: `instance,${id}`,
          __originalimagename: wholeServer.imageId ?? '',
        },
      };
    }
    case 'volume': {
      const volume = volumeOf(command);
      return {
        source: { kind: 'volume', volumeId: volume.id },
        minDiskGib: volume.sizeGib,
        virtualEnvType: plan.virtualEnvType,
        architecture: volume.architecture ?? request.architecture,
        attributes: { __data_origin: `volume,${volume.id}` },
      };
    }
    case 'data-disk': {
      const volume = volumeOf(command);
      const set = command.set ?? [{ jobId: command.jobId, volumeId: volume.id }];
      return {
        source: { kind: 'data-disk', volumeId: volume.id, set: [...set] },
        minDiskGib: volume.sizeGib,
        virtualEnvType: plan.virtualEnvType,
        architecture: undefined,
        attributes: { __data_origin: `volume,${volume.id}` },
      };
    }
    default:
      return plan.source satisfies never;
  }
}

function volumeOf({ volume }: CreateImageCommand): SourceVolume {
  if (volume === undefined) throw new ImsError('IMG.0120', 'there is no such disk in this project');
  return volume;
}

/** What the image says about the machine it is for. */
interface Guest {
  attributes: ImageAttributes;
  minRamMib: number;
  osVersion?: string;
  architecture: Architecture;
}

function decideSystem(
  request: CreateImageCommand['request'],
  plan: CreatePlan,
  { virtualEnvType, architecture: wanted }: DecidedSource,
): Guest {
  const architecture = checkArchitecture(wanted);
  if (virtualEnvType === 'IsoImage' && request.os_version === undefined) throw new ImsError('IMG.0166');
  if (plan.quickImport && request.os_version === undefined) throw new ImsError('IMG.0159');
  // ims-api 6.2 E; the contract names no code of its own for it.
  if (plan.source === 'volume' && request.os_version === undefined)
    throw new ImsError('IMG.0056', 'os_version is needed for an image of a disk');
  const osVersion = checkOsVersion(request.os_version, architecture);
  const osType = osVersion?.osType ?? checkOsType(request.os_type);
  const firmware = decideFirmware(request.hw_firmware_type, architecture, osVersion);
  const memory = decideMemory(request, osVersion);
  checkLicenseType(request.license_type, osType);
  return {
    architecture,
    minRamMib: memory.minRamMib,
    ...(osVersion === undefined ? {} : { osVersion: osVersion.name }),
    attributes: {
      __is_config_init: 'false',
      __os_type: osType ?? 'Other',
      ...(osVersion === undefined
        ? {}
        : { __os_version: osVersion.name, __platform: osVersion.platform, __os_bit: osVersion.osBit }),
      ...(firmware === undefined ? {} : { hw_firmware_type: firmware }),
      ...(architecture === 'arm' ? { __support_arm: 'true' } : {}),
      ...(virtualEnvType === 'FusionCompute' ? { __support_kvm: 'true' } : {}),
      ...(memory.maxRamMib === undefined ? {} : { max_ram: String(memory.maxRamMib) }),
    },
  };
}

/** IMG-10: data is for no machine in particular. SDKs send `os_version` with every quick import; a data disk has none (ims-api 6.3). */
function decideData(request: CreateImageCommand['request'], plan: CreatePlan): Guest {
  // A system disk may hold another system than these two, and its data disks with it.
  const osType =
    plan.isBesideSystem === true ? (checkOsType(request.os_type) ?? 'Linux') : checkDataOsType(request.os_type);
  return { architecture: 'x86', minRamMib: 0, attributes: { __os_type: osType } };
}
