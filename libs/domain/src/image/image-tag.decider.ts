import { type ImageId, imageStream, type ImageTag, ImsError, type ProjectId } from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { checkOwner, type Dialect, NOT_FOUND, type OwnedImage } from './image-owner.rules';
import { checkTag, checkTagCount, checkWord, DEFAULT_MAX_TAGS, splitTag, withTags } from './image-tags';

export interface TaggedImage extends OwnedImage {
  id: ImageId;
  name: string;
  tags: readonly string[];
}

interface Change {
  /** Project of the caller. */
  projectId: ProjectId;
  /** The call that asks for it. */
  requestId: string;
}

export interface TagImageCommand extends Change {
  tags: readonly ImageTag[];
  maxTags?: number;
}

export interface UntagImageCommand extends Change {
  keys: readonly string[];
  /** The caller means one tag and wants to hear when it is not there (ims-api 8.5). */
  mustBeThere?: boolean;
}

/**
 * Decides on setting tags of an image (MGT-02, ims-api 8.2, 8.5): a key that is there gets the new value. Nothing happens when they are there already.
 *
 * Fails as `checkOwner`, with IMG.0115 for an invalid tag or a key that comes twice, with IMG.0116 beyond `maxTags` (MGT-03).
 */
export function decideTagImage(image: TaggedImage | undefined, command: TagImageCommand): DomainEvent[] {
  const { tags, maxTags = DEFAULT_MAX_TAGS } = command;
  const checked = tags.map(checkTag);
  if (new Set(checked.map(({ key }) => key)).size < checked.length) throw new ImsError('IMG.0115', 'a key comes twice');
  const owned = checkOwner(image, command.projectId, 'extension');
  return tagged(owned, withTags(owned.tags, checked), { ...command, maxTags, dialect: 'extension' });
}

/**
 * The same for one tag that is a single word (ims-api 12.9). Fails as `checkOwner`, with IMG.0115 (a value has no place in it), IMG.0116 (413).
 */
export function decideTagByWord(
  image: TaggedImage | undefined,
  command: Change & { word: string; maxTags?: number },
): DomainEvent[] {
  const { word, maxTags = DEFAULT_MAX_TAGS } = command;
  if (checkWord(word).includes('=')) throw new ImsError('IMG.0115', 'a tag is a single word, without "="');
  const owned = checkOwner(image, command.projectId, 'openstack');
  const set = withTags(owned.tags, [{ key: word, value: '' }]);
  return tagged(owned, set, { ...command, maxTags, dialect: 'openstack' });
}

/** Decides on taking tags away by their keys; keys that are not there are overlooked unless they must be (IMG.0121, 404). Fails as `checkOwner`. */
export function decideUntagImage(image: TaggedImage | undefined, command: UntagImageCommand): DomainEvent[] {
  const { keys, mustBeThere = false } = command;
  const owned = checkOwner(image, command.projectId, 'extension');
  const gone = new Set(keys);
  return untagged(owned, (tag) => gone.has(splitTag(tag).key), command, mustBeThere);
}

/** The same for one tag as the image shows it (ims-api 12.9): IMG.0121 (404) when it has none such. */
export function decideUntagByWord(image: TaggedImage | undefined, command: Change & { word: string }): DomainEvent[] {
  const owned = checkOwner(image, command.projectId, 'openstack');
  return untagged(owned, (tag) => tag === command.word, command, true);
}

function tagged(
  { id, name, tags: before }: TaggedImage,
  after: string[],
  { requestId, maxTags, dialect }: Change & { maxTags: number; dialect: Dialect },
): DomainEvent[] {
  checkTagCount(before.length, after.length, maxTags, dialect);
  const isSame = after.length === before.length && after.every((tag, at) => tag === before[at]);
  if (isSame) return [];
  const data = { name, before: [...before], after };
  return [{ type: 'image.tagged', stream: imageStream(id), key: `tagged:${requestId}`, data }];
}

function untagged(
  { id, name, tags: before }: TaggedImage,
  isGone: (tag: string) => boolean,
  { requestId }: Change,
  mustBeThere: boolean,
): DomainEvent[] {
  const after = before.filter((tag) => !isGone(tag));
  if (after.length === before.length) {
    if (mustBeThere) throw new ImsError('IMG.0121', 'the image has no such tag', NOT_FOUND);
    return [];
  }
  const data = { name, before: [...before], after };
  return [{ type: 'image.untagged', stream: imageStream(id), key: `untagged:${requestId}`, data }];
}
