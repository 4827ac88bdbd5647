import { z } from 'zod';
import { refusal } from './refusal';

const CONTROL_CHARACTERS = /[\u0000-\u001f\u007f]/;

// No name, tag or attribute value is longer than 1024 characters (ims-api 2.1), so nothing longer can match.
const MAX_VALUE = 1024;

const value = z
  .string()
  .max(MAX_VALUE, { error: refusal('IMG.0001', 'a query value is too long') })
  // Typed clients send values such as "status " with a trailing blank (ims-api 4.1).
  .transform((text) => text.trim())
  .refine((text) => !CONTROL_CHARACTERS.test(text) && text.isWellFormed(), {
    error: refusal('IMG.0001', 'a query value has characters that are not allowed'),
  });

/** One value; of a repeated parameter the last one counts. */
const one = z.union([value, z.array(value).transform((all) => all.at(-1) ?? '')]);
const many = z.union([
  value.transform((only) => [only]),
  z.array(value).max(50, { error: refusal('IMG.0001', 'too many values of one query parameter') }),
]);

const oneOf = <const T extends readonly [string, ...string[]]>(name: string, values: T) =>
  one.pipe(z.enum(values, { error: refusal('IMG.0001', `${name} must be one of ${values.join(', ')}`) }));

const digits = (name: string, maximum: number) =>
  one.pipe(
    z
      .string()
      .regex(/^\d{1,16}$/, { error: refusal('IMG.0001', `${name} must be a whole number`) })
      .transform(Number)
      .pipe(z.number().max(maximum, { error: refusal('IMG.0001', `${name} must not exceed ${maximum}`) })),
  );

const INT32_MAX = 2_147_483_647;

/** `true`/`True`/`false`/`False` (ims-api 19.1 row 8). */
const truth = (name: string) =>
  one.pipe(
    z
      .string()
      .transform((text) => text.toLowerCase())
      .pipe(z.enum(['true', 'false'], { error: refusal('IMG.0001', `${name} must be true or false`) }))
      .transform((text) => text === 'true'),
  );

export const TIME_OPERATORS = ['gt', 'gte', 'lt', 'lte', 'eq', 'neq'] as const;
export type TimeOperator = (typeof TIME_OPERATORS)[number];

/** `op:time`, plain `time` meaning equality; time in UTC (ims-api 4.1). */
const time = (name: string) =>
  one.pipe(
    z.string().transform((text, context): { operator: TimeOperator; at: string } => {
      const match = /^(?:(gt|gte|lt|lte|eq|neq):)?(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.\d{1,6})?Z?$/.exec(
        text,
      );
      const [, operator, year, month, day, hour, minute, second] = match ?? [];
      const at = `${year}-${month}-${day}T${hour}:${minute}:${second}Z`;
      if (match === null || Number.isNaN(Date.parse(at))) {
        context.addIssue({
          code: 'custom',
          message: refusal(
            'IMG.0001',
            `${name} must be op:yyyy-MM-ddThh:mm:ssZ with op one of ${TIME_OPERATORS.join(', ')}`,
          ),
        });
        return z.NEVER;
      }
      return { operator: TIME_OPERATORS.find((known) => known === operator) ?? 'eq', at };
    }),
  );

/** Sort keys of both dialects (ims-api 4.1, 12.2). */
export const IMAGE_SORT_KEYS = [
  'name',
  'container_format',
  'disk_format',
  'status',
  'id',
  'size',
  'created_at',
  'updated_at',
] as const;
export type ImageSortKey = (typeof IMAGE_SORT_KEYS)[number];
export const SORT_DIRECTIONS = ['asc', 'desc'] as const;
export type SortDirection = (typeof SORT_DIRECTIONS)[number];

const sortKeys = many.pipe(
  z
    .array(
      z.enum(IMAGE_SORT_KEYS, { error: refusal('IMG.0001', `sort_key must be one of ${IMAGE_SORT_KEYS.join(', ')}`) }),
    )
    // Glance refuses more; a longer order has no meaning because id is unique.
    .max(IMAGE_SORT_KEYS.length, { error: refusal('IMG.0001', 'too many sort keys') }),
);
const sortDirections = many.pipe(
  z
    .array(z.enum(SORT_DIRECTIONS, { error: refusal('IMG.0001', 'sort_dir must be asc or desc') }))
    .max(IMAGE_SORT_KEYS.length, { error: refusal('IMG.0001', 'too many sort directions') }),
);

/** 0 is an empty list; more than the cap is served as the cap (ims-api 20 row 4). */
const LIMIT_CAP = 1000;
const limit = digits('limit', INT32_MAX).transform((wanted) => Math.min(wanted, LIMIT_CAP));

const known = {
  id: one,
  name: one,
  status: one,
  owner: one,
  visibility: oneOf('visibility', ['public', 'private', 'shared', 'community', 'all']),
  protected: truth('protected'),
  member_status: oneOf('member_status', ['accepted', 'rejected', 'pending', 'all']),
  container_format: one,
  disk_format: one,
  min_ram: digits('min_ram', INT32_MAX),
  min_disk: digits('min_disk', INT32_MAX),
  size_min: digits('size_min', Number.MAX_SAFE_INTEGER),
  size_max: digits('size_max', Number.MAX_SAFE_INTEGER),
  tag: many,
  created_at: time('created_at'),
  updated_at: time('updated_at'),
  limit,
  marker: one,
  sort_key: sortKeys,
  sort_dir: sortDirections,
  __imagetype: oneOf('__imagetype', ['gold', 'private', 'shared', 'market']),
  __isregistered: one,
} as const;

/** What both lists can be asked. */
export const commonListQuery = z.object(known).partial();
export type CommonListQuery = z.infer<typeof commonListQuery>;

/** Query of GET /v2/cloudimages (ims-api 4.1). Parameters that begin with two underscores filter on the attribute of that name; others that are not listed are ignored. */
export const listImagesQuery = z
  .object({
    ...known,
    flavor_id: one,
    architecture: one.pipe(z.enum(['x86', 'arm'], { error: refusal('IMG.0212', 'architecture') })),
    virtual_env_type: one,
    enterprise_project_id: one,
    os_hidden: truth('os_hidden'),
  })
  .partial()
  .catchall(many);
export type ListImagesQuery = z.infer<typeof listImagesQuery>;

/** Query of GET /v1/cloudimages/tags (ims-api 8.3): the same filters, and a page of the tags found; all of them without a `limit`. */
export const listTagsQuery = listImagesQuery.extend({
  limit: digits('limit', INT32_MAX).optional(),
  page: digits('page', INT32_MAX)
    .pipe(z.number().min(1, { error: refusal('IMG.0001', 'page must be at least 1') }))
    .optional(),
});
export type ListTagsQuery = z.infer<typeof listTagsQuery>;

/** Query of GET /v2/images (ims-api 12.2): as above with `sort=key:dir,…`, and any other name filters on the property of that name. */
export const listGlanceImagesQuery = z
  .object({ ...known, os_hidden: truth('os_hidden'), sort: one })
  .partial()
  .catchall(many);
export type ListGlanceImagesQuery = z.infer<typeof listGlanceImagesQuery>;

/**
 * Query of GET /v1.1/images/detail (ims-api 3.3): properties have names that begin with `property-`, and `is_public` says which visibility.
 */
export const listImagesV1Query = z
  .object({ ...known, is_public: truth('is_public') })
  .partial()
  .catchall(many);
export type ListImagesV1Query = z.infer<typeof listImagesV1Query>;
