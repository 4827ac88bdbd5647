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
import { DEFAULT_MAX_TAGS } from './image-tags';

export interface CreateMetadataCommand {
  projectId: ProjectId;
  /** The one that the caller chose, or a fresh one. */
  imageId: ImageId;
  request: ImageMetadataRequest;
  maxTags?: number;
}

const FORBIDDEN = 403;
const TOO_LARGE = 413;

// ims-api 12.3.
const MAX_NAME = 255;
const MAX_TAG = 255;
const MAX_PROPERTY_NAME = 255;
// Glance's own limit of properties.
const MAX_PROPERTIES = 128;
// All properties of an image are part of one event, of at most 64 KiB together with its frame.
const MAX_PROPERTIES_BYTES = 48 * 1024;
// ims-api 6.2: 1 TB is the largest system disk; 0 leaves it open.
const MAX_DISK_GIB = 1024;
const DEFAULT_FORMAT: DiskFormat = 'vhd';
const DEFAULT_OS_VERSION = 'Other Linux(64 bit)';

/** Base properties that nobody sets: the service or the bytes say what they are (ims-api 12.5). */
const READ_ONLY = new Set([
  ...['created_at', 'updated_at', 'active_at', 'status', 'checksum', 'size', 'virtual_size', 'direct_url'],
  ...['self', 'file', 'schema', 'os_hash_algo', 'os_hash_value', 'location', 'locations', 'deleted', 'deleted_at'],
]);

/** Attributes of ims-api 2.2 that state how an image came to be, whose it is, or what follows from other attributes. */
const OWN_ATTRIBUTES = new Set([
  ...['virtual_env_type', 'enterprise_project_id', '_sys_enterprise_project_id', '__os_type', '__os_bit', '__platform'],
  ...['__imagetype', '__isregistered', '__image_source_type', '__image_size', '__image_location', '__data_origin'],
  ...['__root_origin', '__originalimagename', '__backup_id', '__whole_image', '__sequence_num'],
  ...['__system__cmkid', '__system__encrypted'],
  ...['__lazyloading', '__productcode', '__account_code', '__is_offshelved', '__system_support_market'],
]);

/**
 * Decides on an image that gets its bytes later (ims-api 12.3): `queued`, its place in the quota taken at once (CRE-23). Whether the id is taken
 * is the event log's to say.
 *
 * Fails with IMG.0062 (name), IMG.0056 (system), IMG.0072 (format), IMG.0055 (sizes), IMG.0115, IMG.0116 (tags), IMG.0015 (quota), and with
 * IMG.0105 and status 403 for what a caller may not set.
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
          name: nameOf(name ?? ''),
          diskFormat,
          minDiskGib,
          minRamMib: min_ram ?? 0,
          tags: tagsOf(tags ?? [], maxTags),
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

const hasControls = (text: string): boolean => /[\u0000-\u001f\u007f]/.test(text);

function nameOf(name: string): string {
  if ([...name].length > MAX_NAME || hasControls(name))
    throw new ImsError('IMG.0062', `it must have up to ${MAX_NAME} characters, no control characters among them`);
  return name;
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

function tagsOf(tags: readonly string[], maxTags: number): string[] {
  const distinct = [...new Set(tags)];
  for (const tag of distinct) {
    if (tag === '' || [...tag].length > MAX_TAG || hasControls(tag))
      throw new ImsError('IMG.0115', `a tag has 1 to ${MAX_TAG} characters`);
  }
  if (distinct.length > maxTags) throw new ImsError('IMG.0116', `an image may have ${maxTags}`, TOO_LARGE);
  return distinct;
}

/** The caller's own properties, `owner_specified.openstack.*` of one SDK among them. */
function propertiesOf(properties: Readonly<Record<string, unknown>>): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(properties)) {
    // Null is how OpenStack clients say nothing.
    if (typeof value !== 'string') continue;
    if (READ_ONLY.has(name) || OWN_ATTRIBUTES.has(name) || name.startsWith('os_glance'))
      throw new ImsError('IMG.0105', `${name} cannot be set`, FORBIDDEN);
    if (name === '' || [...name].length > MAX_PROPERTY_NAME || hasControls(name))
      throw new ImsError('IMG.0001', `the name of a property has 1 to ${MAX_PROPERTY_NAME} characters`);
    kept[name] = value;
  }
  if (Object.keys(kept).length > MAX_PROPERTIES)
    throw new ImsError('IMG.0001', `an image may have ${MAX_PROPERTIES} properties`, TOO_LARGE);
  // A character takes up to three bytes of an event for each of its units.
  const bytes = Object.entries(kept).reduce((sum, [name, value]) => sum + 3 * (name.length + value.length), 0);
  if (bytes > MAX_PROPERTIES_BYTES) throw new ImsError('IMG.0001', 'the properties are too long', TOO_LARGE);
  return kept;
}
