import type { CloudImage } from '@ims/contract';
import { IMAGE_ATTRIBUTE_DEFAULTS, type ImageRow, type SeenImage, systemClock } from '@ims/db';
import { osSupport } from '@ims/domain';
import { imageTime } from '../http/wire-time';

// Typed clients read `size` and `virtual_size` of this dialect into 32 bits (ims-api 4.2); `__image_size` has the whole number.
const INT32_MAX = 2_147_483_647;
const int32OrUndefined = (value: number | null): number | undefined =>
  value === null || value > INT32_MAX ? undefined : value;

/** The one attribute that is a JSON boolean on the wire (ims-api 2.2). */
const BOOLEAN_ATTRIBUTE = '__system_support_market';

/** Every attribute as a string: booleans as "true" and "false", numbers in decimals; what is unset is left out (ims-api 2.1, 19.1 row 3). */
export function attributesOf(row: ImageRow): Record<string, string> {
  // Written by the projection of image events alone, whose schema allows scalars only.
  const stored = row.attributes as Record<string, string | number | boolean | null>;
  const attributes: Record<string, string> = {};
  for (const [name, value] of Object.entries(stored)) if (value !== null) attributes[name] = String(value);
  return attributes;
}

const IMAGE_TYPES = { private: 'private', shared: 'shared', public: 'gold', gold: 'gold', market: 'market' } as const;
const imageTypeOf = (row: ImageRow): string =>
  Object.entries(IMAGE_TYPES).find(([known]) => known === row.image_type)?.[1] ?? 'private';
/** An image that its owner shares is shown as shared to both sides, its type to the other side alone (ims-api 2.2). */
function visibilityOf(imageType: string, row: SeenImage): 'public' | 'private' | 'shared' {
  if (imageType === 'private') return row.is_shared ? 'shared' : 'private';
  return imageType === 'shared' ? 'shared' : 'public';
}

/** What an owner has filed an image under says nothing to others, and is nothing they should know. */
const OWNERS_OWN = { enterprise_project_id: '0', __backup_id: '' };

/**
 * How far the system of an image is supported (OS-01 to OS-05): fields of ours, in both dialects, strings as all attributes. `__os_support` is `full`,
 * `extended`, `ended` or `unknown`; `__os_supported_by` is `platform` or `vendor`; `__os_eos` and `__os_eos_extended` are the dates as printed, and
 * `__os_eos_effective` is the last day of all support where it can be computed. Absent where the image has no system of the tables.
 */
export function supportOf(attributes: Readonly<Record<string, string>>, now: Date): Record<string, string> {
  const { virtual_env_type: kind, __os_version: osVersion = '' } = attributes;
  const support = kind === 'DataImage' ? undefined : osSupport(osVersion, now);
  if (support === undefined) return {};
  const last = (support.extendedEnd ?? support.end)?.effective ?? undefined;
  return {
    __os_support: support.state,
    __os_supported_by: support.supportedBy,
    ...(support.end === null ? {} : { __os_eos: support.end.printed }),
    ...(support.extendedEnd === null ? {} : { __os_eos_extended: support.extendedEnd.printed }),
    ...(last === undefined ? {} : { __os_eos_effective: last }),
  };
}

/** Keys that both dialects always send, with the defaults typed clients rely on (ims-api 4.2). */
export function coreOf(row: SeenImage) {
  const imageType = imageTypeOf(row);
  const attributes = attributesOf(row);
  return {
    ...IMAGE_ATTRIBUTE_DEFAULTS,
    ...attributes,
    ...(row.seen_as === 'owner' ? {} : OWNERS_OWN),
    ...supportOf(attributes, systemClock.now()),
    id: row.id,
    name: row.name,
    status: row.status,
    visibility: visibilityOf(imageType, row),
    owner: row.project_id,
    protected: row.protected,
    container_format: 'bare' as const,
    disk_format: row.disk_format,
    min_disk: row.min_disk_gib,
    min_ram: row.min_ram_mib,
    tags: row.tags,
    created_at: imageTime(row.created_at),
    updated_at: imageTime(row.updated_at),
    active_at: row.active_at === null ? '' : imageTime(row.active_at),
    self: `/v2/images/${row.id}`,
    file: `/v2/images/${row.id}/file`,
    schema: '/v2/schemas/image',
    virtual_size: int32OrUndefined(row.virtual_size_bytes) ?? null,
    __imagetype: imageType,
    __image_size: String(row.file_bytes ?? 0),
    ...(row.deprecated_at === null ? {} : { __deprecated_at: imageTime(row.deprecated_at) }),
    ...(row.replacement_id === null ? {} : { __replacement_image_id: row.replacement_id }),
    ...(row.md5 === null ? {} : { checksum: row.md5 }),
  };
}

/** An image as an element of GET /v2/cloudimages: column EL of ims-api 2.2. */
export function toCloudImage(row: SeenImage): CloudImage {
  const image: Record<string, unknown> = coreOf(row);
  const size = int32OrUndefined(row.file_bytes);
  if (size !== undefined) image.size = size;
  if (row.hidden) image.os_hidden = true;
  if (image[BOOLEAN_ATTRIBUTE] !== undefined) image[BOOLEAN_ATTRIBUTE] = image[BOOLEAN_ATTRIBUTE] === 'true';
  // The catch-all of the schema makes literal keys of other types unassignable; the unit spec parses the result.
  return image as CloudImage;
}
