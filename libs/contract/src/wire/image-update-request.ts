import { z } from 'zod';
import { refusal } from './refusal';

/** One change of an image, as both dialects mean it. `move` is what OpenStack's SDK makes of a list of tags in another order. */
export interface ImagePatchOperation {
  op: 'add' | 'replace' | 'remove' | 'move';
  /** JSON pointer (RFC 6901). */
  path: string;
  /** Where a moved value comes from. */
  from?: string | undefined;
  value?: unknown;
}

// A property has a name of up to 255 characters, each of up to two units, twice as long when all are escaped.
const MAX_PATH = 1024;
// An image may have 128 properties beside what every image has; a few changes of each make a long patch already.
const MAX_OPERATIONS = 500;

const path = z
  .string({ error: refusal('IMG.0001', 'path must be a string') })
  .max(MAX_PATH, { error: refusal('IMG.0001', 'path is too long') })
  .refine((text) => text.startsWith('/'), { error: refusal('IMG.0001', 'path must begin with a slash') });
const value = z.unknown().optional();
const patchOf = <T extends z.ZodType>(operation: T) =>
  z
    .array(operation, { error: refusal('IMG.0001', 'the body must be a list of operations') })
    .max(MAX_OPERATIONS, { error: refusal('IMG.0001', `a patch has up to ${MAX_OPERATIONS} operations`) });

/** Body of PATCH /v2/cloudimages/{image_id} (ims-api 5). */
export const updateImageRequest = patchOf(
  z.object(
    {
      op: z.enum(['add', 'replace', 'remove'], { error: refusal('IMG.0001', 'op must be add, replace or remove') }),
      path,
      value,
    },
    { error: refusal('IMG.0001', 'an operation must be a JSON object') },
  ),
);
export type UpdateImageRequest = z.infer<typeof updateImageRequest>;

/** Media types of PATCH /v2/images/{image_id}, the newer one first (ims-api 12.5). */
export const GLANCE_PATCH_TYPES = [
  'application/openstack-images-v2.1-json-patch',
  'application/openstack-images-v2.0-json-patch',
] as const;
export type GlancePatchType = (typeof GLANCE_PATCH_TYPES)[number];

const operation = z.object(
  {
    op: z.enum(['add', 'replace', 'remove', 'move'], {
      error: refusal('IMG.0001', 'op must be add, replace, remove or move'),
    }),
    path,
    from: path.optional(),
    value,
  },
  { error: refusal('IMG.0001', 'an operation must be a JSON object') },
);

const OLD_OPERATIONS = ['add', 'replace', 'remove'] as const;

/** The operation is the name of the member that has its path: `{"replace": "/name", "value": "x"}`. */
const oldOperation = z
  .object(
    { add: path.optional(), replace: path.optional(), remove: path.optional(), value },
    { error: refusal('IMG.0001', 'an operation must be a JSON object') },
  )
  .refine((each) => OLD_OPERATIONS.filter((op) => each[op] !== undefined).length === 1, {
    error: refusal('IMG.0001', 'an operation is one of add, replace and remove'),
  });

/** Body of PATCH /v2/images/{image_id} in either of its forms (ims-api 12.5). */
export const glanceUpdateImageRequest = patchOf(
  z.union([operation, oldOperation], { error: refusal('IMG.0001', 'an operation has op, path and value') }),
);
export type GlanceUpdateImageRequest = z.infer<typeof glanceUpdateImageRequest>;

/** What a patch of this media type means, or `undefined` when it is written in the other form. */
export function operationsOf(
  type: GlancePatchType,
  request: GlanceUpdateImageRequest,
): ImagePatchOperation[] | undefined {
  const operations: ImagePatchOperation[] = [];
  for (const each of request) {
    if ('op' in each) {
      if (type !== GLANCE_PATCH_TYPES[0]) return undefined;
      operations.push(each);
      continue;
    }
    if (type !== GLANCE_PATCH_TYPES[1]) return undefined;
    for (const op of OLD_OPERATIONS) {
      const at = each[op];
      if (at !== undefined) operations.push({ op, path: at, value: each.value });
    }
  }
  return operations;
}
