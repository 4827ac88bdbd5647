import { type ImageTag, ImsError } from '@ims/contract';

// ims-api 8.1; the count is the overview's, newer documents say 20.
const MAX_KEY = 128;
const MAX_VALUE = 255;
export const DEFAULT_MAX_TAGS = 10;

const KEY = /^[A-Za-z0-9\u4e00-\u9fff_.:+@-]([A-Za-z0-9\u4e00-\u9fff _.:+@-]*[A-Za-z0-9\u4e00-\u9fff_.:+@-])?$/;
const VALUE = /^([A-Za-z0-9\u4e00-\u9fff_.:+@/-]([A-Za-z0-9\u4e00-\u9fff _.:+@/-]*[A-Za-z0-9\u4e00-\u9fff_.:+@/-])?)?$/;

/** `key.value`, cut at the first dot; without a dot the value is empty; more dots belong to the value (ims-api 8.1). */
export function parseTag(text: string): ImageTag {
  const cut = text.indexOf('.');
  return cut < 0 ? { key: text, value: '' } : { key: text.slice(0, cut), value: text.slice(cut + 1) };
}

/** How a tag shows in `tags` of an image: `key=value`, or `key` when the value is empty. */
export const formatTag = ({ key, value }: ImageTag): string => (value === '' ? key : `${key}=${value}`);

/**
 * Tags of a new image, given as strings or as objects, never as both (ims-api 6.1). A key that comes twice keeps its last value.
 * Fails with IMG.0115 (invalid, or both forms given) and IMG.0116 (more than `maxTags`, MGT-03).
 */
export function decideTags(
  request: { tags?: string[] | undefined; image_tags?: ImageTag[] | undefined },
  maxTags: number = DEFAULT_MAX_TAGS,
): string[] {
  if (request.tags !== undefined && request.image_tags !== undefined) {
    throw new ImsError('IMG.0115', 'give tags or image_tags, not both');
  }
  const values = new Map<string, string>();
  for (const { key, value } of request.image_tags ?? (request.tags ?? []).map(parseTag)) {
    if (key.length > MAX_KEY || !KEY.test(key))
      throw new ImsError('IMG.0115', 'a key has 1 to 128 of the allowed characters');
    if (value.length > MAX_VALUE || !VALUE.test(value)) {
      throw new ImsError('IMG.0115', 'a value has up to 255 of the allowed characters');
    }
    values.set(key, value);
  }
  if (values.size > maxTags) throw new ImsError('IMG.0116', `an image may have ${maxTags}`);
  return [...values].map(([key, value]) => formatTag({ key, value }));
}
