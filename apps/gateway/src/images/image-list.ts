import {
  type CommonListQuery,
  IMAGE_SORT_KEYS,
  type ImageSortKey,
  ImsError,
  type ListGlanceImagesQuery,
  type ListImagesQuery,
  type ListImagesV1Query,
  type SortDirection,
} from '@ims/contract';
import { flavorFilter } from '@ims/domain';
import type { ImageFilter, ImageListRequest, ImageSort } from '@ims/db';

// Page sizes without a `limit` (ims-api 4.1, 12.2).
const DEFAULT_LIMIT = 500;
const DEFAULT_LIMIT_GLANCE = 25;

type ListRequest = Omit<ImageListRequest, 'projectId'>;

/** Parameters that say how to list, not what; everything else that a schema does not know may be the name of an attribute. */
const NO_ATTRIBUTES = new Set([
  'id',
  'name',
  'status',
  'owner',
  'visibility',
  'protected',
  'member_status',
  'container_format',
  'disk_format',
  'min_ram',
  'min_disk',
  'size_min',
  'size_max',
  'tag',
  'created_at',
  'updated_at',
  'limit',
  'marker',
  'sort_key',
  'sort_dir',
  'sort',
  'os_hidden',
  'flavor_id',
  'architecture',
  'enterprise_project_id',
  '__imagetype',
  '__isregistered',
]);

/** Drops what is undefined, so that exact optional types hold. */
function defined<T extends object>(values: { [K in keyof T]: T[K] | undefined }): T {
  // Every key left has a value of its type.
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}

function lastOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  const last: unknown = Array.isArray(value) ? value.at(-1) : undefined;
  return typeof last === 'string' ? last : undefined;
}

function attributesIn(
  query: Readonly<Record<string, unknown>>,
  isAttribute: (name: string) => boolean,
): Record<string, string> {
  const attributes: Record<string, string> = {};
  for (const [name, value] of Object.entries(query)) {
    const wanted = lastOf(value);
    if (!NO_ATTRIBUTES.has(name) && isAttribute(name) && wanted !== undefined) attributes[name] = wanted;
  }
  return attributes;
}

function commonFilter(query: CommonListQuery, listOf: (text: string) => readonly string[]): ImageFilter {
  const list = (text: string | undefined): readonly string[] | undefined =>
    text === undefined ? undefined : listOf(text);
  const time = (condition: CommonListQuery['created_at']) =>
    condition === undefined ? undefined : [{ operator: condition.operator, at: new Date(condition.at) }];
  return defined<ImageFilter>({
    id: list(query.id),
    name: list(query.name),
    nameContains: undefined,
    status: list(query.status),
    owner: query.owner,
    visibility: query.visibility,
    memberStatus: query.member_status,
    imageType: query.__imagetype,
    protected: query.protected,
    hidden: undefined,
    containerFormat: list(query.container_format),
    diskFormat: list(query.disk_format),
    minRamMib: query.min_ram,
    minDiskGib: query.min_disk,
    sizeMin: query.size_min,
    sizeMax: query.size_max,
    architecture: undefined,
    tags: query.tag?.filter((tag) => tag !== ''),
    createdAt: time(query.created_at),
    updatedAt: time(query.updated_at),
    attributes: undefined,
  });
}

/** Keys and directions side by side; one direction holds for all keys, none means descending (ims-api 4.1). */
function sortOf(keys: readonly ImageSortKey[] = [], directions: readonly SortDirection[] = []): ImageSort[] {
  if (directions.length > 1 && directions.length !== keys.length) {
    throw new ImsError('IMG.0001', 'sort_dir must be given once or as often as sort_key');
  }
  const only = directions.length === 1 ? directions[0] : undefined;
  const wanted: readonly ImageSortKey[] = keys.length === 0 && only !== undefined ? ['created_at'] : keys;
  return wanted.map((key, index) => ({ key, direction: only ?? directions[index] ?? 'desc' }));
}

/** Hidden images are in a list that asks for them, and, as the vendor's clients read an image by listing it, in one that names the image. */
const hiddenOf = (wanted: boolean | undefined, id?: string): Pick<ImageFilter, 'hidden'> =>
  wanted === undefined && id !== undefined ? {} : { hidden: wanted ?? false };

/** A flavor selects among public images alone, and ISO and data disk images are nobody's system (ims-api 4.1, IMG-11). */
const usableWith = (flavor: string, region: string): ImageFilter => ({
  imageType: 'gold',
  usableWith: flavorFilter(flavor, region),
});

/** GET /v2/cloudimages (ims-api 4.1). The region decides which systems a flavor offers (OS-07). */
export function fromListImagesQuery(query: ListImagesQuery, region: string): ListRequest {
  const { flavor_id: flavor, enterprise_project_id: enterpriseProject, architecture } = query;
  const attributes = attributesIn(query, (name) => name.startsWith('__') || name === 'virtual_env_type');
  if (enterpriseProject !== undefined && enterpriseProject !== 'all_granted_eps')
    attributes.enterprise_project_id = enterpriseProject;
  return defined<ListRequest>({
    filter: {
      ...commonFilter(query, (text) => [text]),
      ...(architecture === undefined ? {} : { architecture }),
      ...(flavor === undefined ? {} : usableWith(flavor, region)),
      ...hiddenOf(query.os_hidden, query.id),
      attributes,
    },
    sort: sortOf(query.sort_key, query.sort_dir),
    marker: query.marker,
    limit: query.limit ?? DEFAULT_LIMIT,
  });
}

/**
 * GET /v1/cloudimages/fuzzy (ims-api 4.3): the name is a part of a name, in any case. The same parameters as the list, but no `__os_version`; Windows
 * images are not among them.
 */
export function fromFuzzyQuery(query: ListImagesQuery, region: string): ListRequest {
  const { name, __os_version: _ignored, ...rest } = query;
  const request = fromListImagesQuery(rest, region);
  return {
    ...request,
    filter: {
      ...request.filter,
      ...(name === undefined || name === '' ? {} : { nameContains: name }),
      withoutAttributes: { __os_type: 'Windows' },
    },
  };
}

/** `in:a,b,"c, d"` as Glance reads it; anything else is one value. */
export function valuesOf(text: string): string[] {
  if (!text.startsWith('in:')) return [text];
  const values = text.slice(3).match(/"[^"]*"|[^,]+/g) ?? [];
  return values.map((value) => value.trim().replace(/^"(.*)"$/, '$1')).filter((value) => value !== '');
}

/** `key:dir,key:dir` (ims-api 12.2). */
function glanceSort(query: ListGlanceImagesQuery): ImageSort[] {
  if (query.sort === undefined) return sortOf(query.sort_key, query.sort_dir);
  if (query.sort_key !== undefined || query.sort_dir !== undefined)
    throw new ImsError('IMG.0001', 'sort excludes sort_key and sort_dir');
  return query.sort.split(',').map((term) => {
    const [name = '', direction = 'desc'] = term.trim().split(':');
    const key = IMAGE_SORT_KEYS.find((known) => known === name);
    if (key === undefined) throw new ImsError('IMG.0001', `sort must name ${IMAGE_SORT_KEYS.join(', ')}`);
    if (direction !== 'asc' && direction !== 'desc')
      throw new ImsError('IMG.0001', 'the direction of sort must be asc or desc');
    return { key, direction };
  });
}

/** GET /v2/images (ims-api 12.2); hidden images are there for who asks for them. */
export function fromListGlanceImagesQuery(query: ListGlanceImagesQuery, region: string): ListRequest {
  const flavor = lastOf(query.flavor_id);
  return defined<ListRequest>({
    filter: {
      ...commonFilter(query, valuesOf),
      ...(flavor === undefined ? {} : usableWith(flavor, region)),
      ...hiddenOf(query.os_hidden),
      attributes: attributesIn(query, () => true),
    },
    sort: glanceSort(query),
    marker: query.marker,
    limit: query.limit ?? DEFAULT_LIMIT_GLANCE,
  });
}

const PROPERTY = 'property-';

/** GET /v1.1/images/detail (ims-api 3.3): what is not known and is no property is ignored, as the old API did. */
export function fromListImagesV1Query(query: ListImagesV1Query): ListRequest {
  const { is_public: isPublic } = query;
  const named = Object.entries(query).flatMap(([name, value]) =>
    name.startsWith(PROPERTY) ? [[name.slice(PROPERTY.length), value] as const] : [],
  );
  return defined<ListRequest>({
    filter: {
      ...commonFilter(query, (text) => [text]),
      ...hiddenOf(undefined, query.id),
      ...(isPublic === undefined ? {} : { visibility: isPublic ? 'public' : 'private' }),
      attributes: attributesIn(Object.fromEntries(named), () => true),
    },
    sort: sortOf(query.sort_key, query.sort_dir),
    marker: query.marker,
    limit: query.limit ?? DEFAULT_LIMIT_GLANCE,
  });
}

/** The caller's own query as it goes into `first` and `next`: everything but the marker, and the forced `__isregistered` (ims-api 12.2). */
export function pageLink(rawQuery: string, marker: string | undefined): string {
  const parameters = new URLSearchParams(rawQuery);
  parameters.delete('marker');
  parameters.delete('__isregistered');
  const link = new URLSearchParams([
    ['__isregistered', 'true'],
    ...(marker === undefined ? [] : [['marker', marker] satisfies [string, string]]),
  ]);
  for (const [name, value] of parameters) link.append(name, value);
  return `/v2/images?${link.toString()}`;
}
