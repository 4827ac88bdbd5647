import { EVENTS, imageId, projectId } from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import {
  decideTagByWord,
  decideTagImage,
  decideUntagByWord,
  decideUntagImage,
  type TaggedImage,
} from './image-tag.decider';

const PROJECT = projectId('0123456789abcdef0123456789abcdef');
const OTHER = projectId('f'.repeat(32));

const anImage = (changes: Partial<TaggedImage> = {}): TaggedImage => ({
  id: imageId('5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c'),
  projectId: PROJECT,
  imageType: 'private',
  status: 'active',
  name: 'web',
  tags: ['env=prod', 'web'],
  ...changes,
});
const change = { projectId: PROJECT, requestId: 'r1' };
const tag = (key: string, value = '') => ({ key, value });
const many = (count: number) => Array.from({ length: count }, (_, n) => `t${n}`);

function after(events: DomainEvent[]): { type: string; tags: string[] } | undefined {
  const [event] = events;
  if (event === undefined) return undefined;
  if (event.type !== 'image.tagged' && event.type !== 'image.untagged') throw new Error(event.type);
  const { name, before, after: tags } = EVENTS[event.type].parse(event.data);
  expect([name, before]).toEqual(['web', anImage().tags]);
  return { type: event.type, tags };
}
const tagged = (...tags: { key: string; value: string }[]) => after(decideTagImage(anImage(), { ...change, tags }));

describe(decideTagImage.name, () => {
  it('sets a tag, in the place of an older value (MGT-02, ims-api 8.1)', () => {
    expect(tagged(tag('env', 'stage'), tag('team', 'ops'))).toEqual({
      type: 'image.tagged',
      tags: ['env=stage', 'web', 'team=ops'],
    });
    expect(tagged(tag('env'))?.tags).toEqual(['env', 'web']);
  });

  it('says nothing of a tag that is there', () => {
    expect(tagged(tag('env', 'prod'), tag('web'))).toBeUndefined();
  });

  it.each([
    ['no key', [tag('')]],
    ['a key of 129 characters', [tag('x'.repeat(129))]],
    ['a key that ends in a blank', [tag('a ')]],
    ['a key with an equals sign', [tag('a=b')]],
    ['a key with a slash', [tag('a/b')]],
    ['a value of 256 characters', [tag('a', 'x'.repeat(256))]],
    ['a value with a bracket', [tag('a', '<')]],
    ['a key twice', [tag('a', '1'), tag('a', '2')]],
  ])('refuses %s with IMG.0115 (MGT-02)', (_what, tags) => {
    expect(() => decideTagImage(anImage(), { ...change, tags })).toThrow(expect.objectContaining({ code: 'IMG.0115' }));
  });

  it('takes the longest and the strangest that is allowed', () => {
    const longest = tag('键'.repeat(128), 'x'.repeat(255));
    expect(tagged(longest)?.tags).toHaveLength(3);
    expect(tagged(tag('a.b:c+d-e@f g', '/a/b'))?.tags).toContain('a.b:c+d-e@f g=/a/b');
  });

  it('stops at 10 tags, or at what the installation says (MGT-03)', () => {
    const nine = anImage({ tags: many(9) });
    expect(decideTagImage(nine, { ...change, tags: [tag('one')] })).toHaveLength(1);
    const tooMany = { ...change, tags: [tag('one'), tag('two')] };
    expect(() => decideTagImage(nine, tooMany)).toThrow(expect.objectContaining({ code: 'IMG.0116', status: 400 }));
    expect(decideTagImage(nine, { ...tooMany, maxTags: 11 })).toHaveLength(1);
  });

  it('lets an image with more than that change what it has', () => {
    const twelve = anImage({ tags: many(12) });
    expect(decideTagImage(twelve, { ...change, tags: [tag('t3', 'x')] })).toHaveLength(1);
    expect(() => decideTagImage(twelve, { ...change, tags: [tag('one')] })).toThrow(
      expect.objectContaining({ code: 'IMG.0116' }),
    );
  });

  it.each([
    ['nobody’s', undefined, 'IMG.0144', 404],
    ['another’s', anImage({ projectId: OTHER }), 'IMG.0144', 404],
    ['a shared', anImage({ projectId: OTHER, imageType: 'shared' }), 'IMG.0106', 400],
    ['a public', anImage({ imageType: 'gold' }), 'IMG.0083', 400],
  ])('leaves %s image alone', (_whose, image, code, status) => {
    const refused = expect.objectContaining({ code, status }) as Error;
    expect(() => decideTagImage(image, { ...change, tags: [tag('a')] })).toThrow(refused);
    expect(() => decideUntagImage(image, { ...change, keys: ['a'] })).toThrow(refused);
  });
});

describe(decideUntagImage.name, () => {
  it('takes tags away by their keys and overlooks others', () => {
    expect(after(decideUntagImage(anImage(), { ...change, keys: ['env', 'none'] }))).toEqual({
      type: 'image.untagged',
      tags: ['web'],
    });
    expect(decideUntagImage(anImage(), { ...change, keys: ['none'] })).toEqual([]);
  });

  it('says when the one that is meant is not there (ims-api 8.5)', () => {
    expect(() => decideUntagImage(anImage(), { ...change, keys: ['prod'], mustBeThere: true })).toThrow(
      expect.objectContaining({ code: 'IMG.0121', status: 404 }),
    );
  });
});

describe(decideTagByWord.name, () => {
  it('adds a word once (ims-api 12.9)', () => {
    expect(after(decideTagByWord(anImage(), { ...change, word: 'v1.2' }))?.tags).toEqual(['env=prod', 'web', 'v1.2']);
    expect(decideTagByWord(anImage(), { ...change, word: 'web' })).toEqual([]);
  });

  it.each(['', 'a=b', '=', 'x'.repeat(256), 'a\nb'])('refuses %j', (word) => {
    expect(() => decideTagByWord(anImage(), { ...change, word })).toThrow(
      expect.objectContaining({ code: 'IMG.0115' }),
    );
  });

  it('has OpenStack’s status for the 11th (MGT-03)', () => {
    expect(() => decideTagByWord(anImage({ tags: many(10) }), { ...change, word: 'x' })).toThrow(
      expect.objectContaining({ code: 'IMG.0116', status: 413 }),
    );
  });
});

describe(decideUntagByWord.name, () => {
  it('takes away the tag as it shows, and nothing like it', () => {
    expect(after(decideUntagByWord(anImage(), { ...change, word: 'env=prod' }))?.tags).toEqual(['web']);
    expect(() => decideUntagByWord(anImage(), { ...change, word: 'env' })).toThrow(
      expect.objectContaining({ code: 'IMG.0121', status: 404 }),
    );
  });
});
