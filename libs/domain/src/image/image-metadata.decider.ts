import {
  DISK_FORMATS,
  type DiskFormat,
  type ImageAttributes,
  type ImageId,
  type ImageMetadataRequest,
  ImsError,
  imageStream,
  type ProjectId,
  quotaStream,
} from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { findAnyOsVersion, type OsVersion } from '../os/os-version';
import { DEFAULT_QUOTA, type QuotaState, checkQuota } from '../quota/quota.rules';
import {
  checkAttribute,
  checkExclusive,
  checkProperties,
  checkPropertyName,
  isReserved,
} from './image-attribute.rules';
import { decideFirmware } from './image-create.rules';
import { checkGlanceName } from './image-name';
import { FORBIDDEN } from './image-owner.rules';
import { DEFAULT_MAX_TAGS, decideWords } from './image-tags';

export interface CreateMetadataCommand {
  projectId: ProjectId;
  /** The one that the caller chose, or a fresh one. */
  imageId: ImageId;
  request: ImageMetadataRequest;
  maxTags?: number;
}

// ims-api 6.2: 1 TB is the largest system disk; 0 leaves it open.
const MAX_DISK_GIB = 1024;
const DEFAULT_FORMAT: DiskFormat = 'vhd';
const DEFAULT_OS_VERSION = 'Other Linux(64 bit)';

/**
 * Decides on an image that gets its bytes later (ims-api 12.3): `queued`, its place in the quota taken at once (CRE-23). Whether the id is taken
 * is the event log's to say.
 *
 * Fails with IMG.0062 (name), IMG.0056 (system), IMG.0141 (firmware that the system cannot start by, OS-18), IMG.0072 (format), IMG.0055 (sizes), IMG.0115, IMG.0116 (tags), IMG.0015 (quota), as
 * `checkAttribute` and `checkExclusive` for its attributes, and with IMG.0105 and status 403 for what a caller may not set.
 */
export function decideCreateMetadata(
  state: { imageQuota: QuotaState },
  { projectId, imageId, request, maxTags = DEFAULT_MAX_TAGS }: CreateMetadataCommand,
): { events: DomainEvent[] } {
  const {
    id: _id,
    name,
    __os_version,
    visibility,
    container_format,
    disk_format,
    min_disk,
    min_ram,
    ...more
  } = request;
  const { protected: isProtected, tags, owner, ...properties } = more;
  if (owner != null && owner !== projectId) throw new ImsError('IMG.0105', 'owner cannot be set', FORBIDDEN);
  if (visibility != null && visibility !== 'private')
    throw new ImsError('IMG.0105', `visibility ${visibility}: a new image is private`, FORBIDDEN);
  if (container_format != null && container_format !== 'bare')
    throw new ImsError('IMG.0072', `container_format ${container_format}: only bare is possible`);
  const diskFormat = formatOf(disk_format ?? DEFAULT_FORMAT);
  const osVersion = systemOf(__os_version ?? DEFAULT_OS_VERSION);
  // Who names no system may know how it starts all the same: other clouds' clients send that alone.
  if (__os_version != null && typeof more['hw_firmware_type'] === 'string')
    decideFirmware(more['hw_firmware_type'], osVersion.architecture, osVersion);
  const minDiskGib = min_disk ?? 0;
  if (minDiskGib > MAX_DISK_GIB) throw new ImsError('IMG.0055', `min_disk must be up to ${MAX_DISK_GIB} GB`);
  const attributes: ImageAttributes = {
    ...propertiesOf(properties),
    virtual_env_type: diskFormat === 'iso' ? 'IsoImage' : 'FusionCompute',
    enterprise_project_id: '0',
    __isregistered: 'true',
    __image_source_type: 'uds',
    __root_origin: 'file',
    __os_version: osVersion.name,
    __os_type: osVersion.osType,
    __os_bit: osVersion.osBit,
    __platform: osVersion.platform,
    ...(osVersion.architecture === 'arm' ? { __support_arm: 'true', hw_firmware_type: 'uefi' } : {}),
  };
  checkQuota(state.imageQuota, DEFAULT_QUOTA.image, 'IMG.0015');
  return {
    events: [
      {
        type: 'image.queued',
        stream: imageStream(imageId),
        key: 'queued',
        data: {
          name: checkGlanceName(name ?? ''),
          diskFormat,
          minDiskGib,
          minRamMib: min_ram ?? 0,
          tags: decideWords(tags ?? [], maxTags),
          attributes,
          ...(isProtected === true ? { protected: true } : {}),
        },
      },
      {
        type: 'quota.reserved',
        stream: quotaStream(projectId, 'image'),
        key: `reserve:${imageId}`,
        data: { resource: 'image', amount: 1, holder: imageId },
      },
    ],
  };
}

function formatOf(text: string): DiskFormat {
  const format = DISK_FORMATS.find((known) => known === text);
  if (format === undefined) throw new ImsError('IMG.0072', `disk_format must be one of ${DISK_FORMATS.join(', ')}`);
  return format;
}

function systemOf(name: string): OsVersion {
  const listed = findAnyOsVersion(name);
  if (listed === undefined) throw new ImsError('IMG.0056');
  return listed;
}

/** The caller's own properties, `owner_specified.openstack.*` of one SDK among them. */
function propertiesOf(properties: Readonly<Record<string, unknown>>): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(properties)) {
    // Null is how OpenStack clients say nothing.
    if (typeof value !== 'string') continue;
    if (isReserved(name)) throw new ImsError('IMG.0105', `${name} cannot be set`, FORBIDDEN);
    kept[checkPropertyName(name)] = checkAttribute(name, value);
  }
  checkProperties(kept);
  checkExclusive(kept, new Set(Object.keys(kept)));
  return kept;
}
