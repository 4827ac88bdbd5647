import { type ImageTag, ImsError } from '@ims/contract';
import { BAD_REQUEST, type Dialect, TOO_LARGE } from './image-owner.rules';

// ims-api 8.1; the count is the overview's (MGT-03), newer documents say 20.
const MAX_KEY = 128;
const MAX_VALUE = 255;
export const DEFAULT_MAX_TAGS = 10;
/** The most that an installation can allow: a change of tags has all of them twice in one event, of at most 64 KiB. */
export const MOST_TAGS = 20;
// ims-api 8.1, of a native tag.
const MAX_WORD = 255;

const KEY = /^[A-Za-z0-9\u4e00-\u9fff_.:+@-]([A-Za-z0-9\u4e00-\u9fff _.:+@-]*[A-Za-z0-9\u4e00-\u9fff_.:+@-])?$/;
const VALUE = /^([A-Za-z0-9\u4e00-\u9fff_.:+@/-]([A-Za-z0-9\u4e00-\u9fff _.:+@/-]*[A-Za-z0-9\u4e00-\u9fff_.:+@/-])?)?$/;

/** `key.value`, cut at the first dot; without a dot the value is empty; more dots belong to the value (ims-api 8.1). */
export function parseTag(text: string): ImageTag {
  const cut = text.indexOf('.');
  return cut < 0 ? { key: text, value: '' } : { key: text.slice(0, cut), value: text.slice(cut + 1) };
}

/** How a tag shows in `tags` of an image: `key=value`, or `key` when the value is empty. */
export const formatTag = ({ key, value }: ImageTag): string => (value === '' ? key : `${key}=${value}`);

/** A tag as an image has it: the opposite of `formatTag`. */
export function splitTag(text: string): ImageTag {
  const cut = text.indexOf('=');
  return cut < 0 ? { key: text, value: '' } : { key: text.slice(0, cut), value: text.slice(cut + 1) };
}

/** Key and value of a tag (ims-api 8.1); fails with IMG.0115. */
export function checkTag({ key, value }: ImageTag): ImageTag {
  if (key.length > MAX_KEY || !KEY.test(key))
    throw new ImsError('IMG.0115', 'a key has 1 to 128 of the allowed characters');
  if (value.length > MAX_VALUE || !VALUE.test(value))
    throw new ImsError('IMG.0115', 'a value has up to 255 of the allowed characters');
  return { key, value };
}

/**
 * How many tags an image may have (MGT-03); one that has more, since fewer are allowed by now, keeps them. Fails with IMG.0116, to OpenStack clients
 * with 413 (ims-api 12.1).
 */
export function checkTagCount(before: number, after: number, maxTags: number, dialect: Dialect = 'extension'): void {
  if (after <= Math.max(before, maxTags)) return;
  throw new ImsError('IMG.0116', `an image may have ${maxTags}`, dialect === 'openstack' ? TOO_LARGE : BAD_REQUEST);
}

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
  const given = request.image_tags ?? (request.tags ?? []).map(parseTag);
  const tags = withTags([], given.map(checkTag));
  checkTagCount(0, tags.length, maxTags);
  return tags;
}

/** Tags with these set: a key that is there gets the new value, in its place (ims-api 8.1). */
export function withTags(tags: readonly string[], set: readonly ImageTag[]): string[] {
  const values = new Map(tags.map(splitTag).map(({ key, value }) => [key, value]));
  for (const { key, value } of set) values.set(key, value);
  return [...values].map(([key, value]) => formatTag({ key, value }));
}

const hasControls = (text: string): boolean => /[\u0000-\u001f\u007f]/.test(text);

/** A tag as OpenStack clients give it: 1 to 255 characters (ims-api 8.1); fails with IMG.0115. */
export function checkWord(word: string): string {
  if (word === '' || [...word].length > MAX_WORD || hasControls(word) || word.startsWith('='))
    throw new ImsError('IMG.0115', `a tag has 1 to ${MAX_WORD} characters`);
  return word;
}

/**
 * All tags of an image, as OpenStack clients give them: `key=value` is as good as a single word (ims-api 12.3, 12.5). The same one twice is one.
 * Fails with IMG.0115, also for a key with two values, and with IMG.0116 (413).
 */
export function decideWords(words: readonly string[], maxTags: number, before = 0): string[] {
  const distinct = [...new Set(words.map(checkWord))];
  if (new Set(distinct.map((word) => splitTag(word).key)).size < distinct.length)
    throw new ImsError('IMG.0115', 'a key comes twice');
  checkTagCount(before, distinct.length, maxTags, 'openstack');
  return distinct.map((word) => formatTag(splitTag(word)));
}
