import { z } from 'zod';
import { imageTag } from './image-create-request';
import { refusal } from './refusal';

const BODY = { error: refusal('IMG.0001', 'the body must be a JSON object') };
const text = (name: string, code: 'IMG.0001' | 'IMG.0115' = 'IMG.0115') =>
  z.string({ error: refusal(code, `${name} must be a string`) });

// More than any image can have; what an installation allows is the domain's to say.
const MAX_TAGS = 1000;

/** Body of PUT /v1/cloudimages/tags (ims-api 8.2): exactly one of `tag` (`key.value`) and `image_tag`. */
export const putTagRequest = z.object(
  {
    image_id: text('image_id', 'IMG.0001'),
    tag: text('tag').optional(),
    image_tag: imageTag.optional(),
  },
  BODY,
);
export type PutTagRequest = z.infer<typeof putTagRequest>;

/** Body of POST /v2/{project_id}/images/{image_id}/tags (ims-api 8.5). */
export const addImageTagRequest = z.object({ tag: imageTag }, BODY);
export type AddImageTagRequest = z.infer<typeof addImageTagRequest>;

// ims-api 8.5: what is deleted is looked at for its length alone, since older tags are of other characters.
const deletedTag = z.object(
  {
    key: text('key')
      .min(1, { error: refusal('IMG.0115', 'a key must not be empty') })
      .max(127, { error: refusal('IMG.0115', 'a key has up to 127 characters') }),
    value: text('value')
      .max(255, { error: refusal('IMG.0115', 'a value has up to 255 characters') })
      .optional(),
  },
  { error: refusal('IMG.0115', 'a tag must be an object') },
);
const listOf = <T extends z.ZodType>(element: T) =>
  z
    .array(element, { error: refusal('IMG.0115', 'tags must be a list of objects') })
    .min(1, { error: refusal('IMG.0115', 'tags must not be empty') })
    .max(MAX_TAGS, { error: refusal('IMG.0116', 'tags') });

/** Body of POST /v2/{project_id}/images/{image_id}/tags/action (ims-api 8.5). */
export const batchTagsRequest = z.discriminatedUnion(
  'action',
  [
    z.object({ action: z.literal('create'), tags: listOf(imageTag) }),
    z.object({ action: z.literal('delete'), tags: listOf(deletedTag) }),
  ],
  { error: refusal('IMG.0001', 'action must be create or delete') },
);
export type BatchTagsRequest = z.infer<typeof batchTagsRequest>;

/** Body of DELETE /v1/{project_id}/cloudimages/{image_id}/tags/delete (ims-api 8.5). */
export const batchDeleteTagsRequest = z.object({ tags: listOf(deletedTag) }, BODY);
export type BatchDeleteTagsRequest = z.infer<typeof batchDeleteTagsRequest>;

const distinct = <T>(values: readonly T[], keyOf: (value: T) => string): boolean =>
  new Set(values.map(keyOf)).size === values.length;

/** A key, and the values of which an image has one; none of them for any value (ims-api 8.4). Characters are not looked at: older tags have others. */
const tagSet = z.object(
  {
    key: text('key')
      .min(1, { error: refusal('IMG.0115', 'a key must not be empty') })
      .max(127, { error: refusal('IMG.0115', 'a key has up to 127 characters') }),
    values: z
      .array(text('values').max(255, { error: refusal('IMG.0115', 'a value has up to 255 characters') }), {
        error: refusal('IMG.0115', 'values must be a list of strings'),
      })
      .max(10, { error: refusal('IMG.0115', 'a key has up to 10 values') })
      .refine((values) => distinct(values, (value) => value), { error: refusal('IMG.0115', 'a value comes twice') })
      .default([]),
  },
  { error: refusal('IMG.0115', 'a set of tags must be an object') },
);
export type TagSet = z.infer<typeof tagSet>;

const tagSets = (name: string) =>
  z
    .array(tagSet, { error: refusal('IMG.0115', `${name} must be a list of objects`) })
    .min(1, { error: refusal('IMG.0115', `${name} must not be empty`) })
    .max(10, { error: refusal('IMG.0115', `${name} has up to 10 keys`) })
    .refine((sets) => distinct(sets, ({ key }) => key), { error: refusal('IMG.0115', `${name}: a key comes twice`) })
    .optional();

/** Whole numbers of this call are strings in the vendor's SDKs (ims-api 8.4, 19.1 row 7). */
const number = (name: string, min: number, max: number) =>
  z
    .union([z.string().regex(/^\d{1,10}$/), z.int()], {
      error: refusal('IMG.0001', `${name} must be a whole number`),
    })
    .transform(Number)
    .pipe(
      z
        .number()
        .min(min, { error: refusal('IMG.0001', `${name} must be at least ${min}`) })
        .max(max, { error: refusal('IMG.0001', `${name} must not exceed ${max}`) }),
    );

const INT32_MAX = 2_147_483_647;

/** Body of POST /v2/{project_id}/images/resource_instances/action (ims-api 8.4). */
export const findByTagsRequest = z.object(
  {
    action: z.enum(['filter', 'count'], { error: refusal('IMG.0001', 'action must be filter or count') }),
    tags: tagSets('tags'),
    tags_any: tagSets('tags_any'),
    not_tags: tagSets('not_tags'),
    not_tags_any: tagSets('not_tags_any'),
    without_any_tag: z.boolean({ error: refusal('IMG.0001', 'without_any_tag must be a boolean') }).optional(),
    matches: z
      .array(
        z.object(
          {
            key: z.enum(['resource_name', 'resource_id'], {
              error: refusal('IMG.0001', 'matches: key must be resource_name or resource_id'),
            }),
            value: text('value', 'IMG.0001').max(255, { error: refusal('IMG.0001', 'matches: value is too long') }),
          },
          { error: refusal('IMG.0001', 'matches must be a list of objects') },
        ),
        { error: refusal('IMG.0001', 'matches must be a list of objects') },
      )
      .refine((matches) => distinct(matches, ({ key }) => key), {
        error: refusal('IMG.0001', 'matches: a key comes twice'),
      })
      .optional(),
    limit: number('limit', 1, 1000).default(10),
    offset: number('offset', 0, INT32_MAX).default(0),
  },
  BODY,
);
export type FindByTagsRequest = z.infer<typeof findByTagsRequest>;

const wireTag = z.object({ key: z.string(), value: z.string() });

/** Answer of the same: `resources` for `filter` alone. */
export const imagesByTags = z.object({
  total_count: z.int(),
  resources: z
    .array(
      z.object({
        resource_id: z.string(),
        resource_name: z.string(),
        resource_detail: z.object({ status: z.string() }),
        tags: z.array(wireTag),
      }),
    )
    .optional(),
});
export type ImagesByTags = z.infer<typeof imagesByTags>;

/** GET /v2/{project_id}/images/{image_id}/tags (ims-api 8.5). */
export const imageTagList = z.object({ tags: z.array(wireTag) });
export type ImageTagList = z.infer<typeof imageTagList>;

/** GET /v2/{project_id}/images/tags (ims-api 8.5): every key of the project with its values. */
export const projectTagList = z.object({ tags: z.array(z.object({ key: z.string(), values: z.array(z.string()) })) });
export type ProjectTagList = z.infer<typeof projectTagList>;

/** GET /v1/cloudimages/tags (ims-api 8.3). */
export const tagList = z.object({ tags: z.array(z.string()) });
export type TagList = z.infer<typeof tagList>;
