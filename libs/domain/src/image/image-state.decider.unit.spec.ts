import { imageId, projectId } from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { anImage as aUsableImage } from '../server/servers.spec-support';
import { checkNotRevoked, warningsAbout } from '../server/image-use.rules';
import {
  decideDeactivate,
  decideDeprecate,
  decideEndDeprecation,
  decideHold,
  decideReactivate,
  decideReinstate,
  decideReleaseHold,
  decideRevoke,
  type StateCommand,
  type StatefulImage,
} from './image-state.decider';

const PROJECT = projectId('0123456789abcdef0123456789abcdef');
const OTHER = projectId('f'.repeat(32));
const NEWER = '6a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c';
const AT = new Date('2027-01-01T00:00:00.000Z');
const IMAGE: StatefulImage = {
  id: imageId('5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c'),
  projectId: PROJECT,
  name: 'debian',
  imageType: 'private',
  status: 'active',
  isGone: false,
  isBinned: false,
  isBeingMade: false,
  holdReason: null,
  deprecation: null,
  revokeReason: null,
};
const COMMAND: StateCommand = { projectId: PROJECT, requestId: 'r1' };

type Decide = (image: StatefulImage | undefined, command: StateCommand) => DomainEvent[];
const hold: Decide = (image, command) => decideHold(image, { ...command, reason: 'case 7', by: 'alice' });
const release: Decide = (image, command) => decideReleaseHold(image, { ...command, reason: null, by: 'bob' });
const deprecate: Decide = (image, command) =>
  decideDeprecate(image, { ...command, at: AT, replacementImageId: NEWER, isReplacementKnown: true });
const revoke: Decide = (image, command) => decideRevoke(image, { ...command, reason: 'back door' });
const reinstate: Decide = (image, command) => decideReinstate(image, { ...command, reason: 'false alarm' });

const HELD = { holdReason: 'case 7' };
const DEPRECATED = { deprecation: { at: AT, replacementImageId: NEWER } };
const REVOKED = { revokeReason: 'back door' };
const OFF = { status: 'deactivated' };

describe('what is decided about the use of an image', () => {
  it.each<[string, Decide, Partial<StatefulImage>, Partial<StatefulImage>, object]>([
    ['image.held', hold, {}, HELD, { name: 'debian', reason: 'case 7', by: 'alice' }],
    ['image.hold-released', release, HELD, {}, { name: 'debian', reason: null, by: 'bob' }],
    ['image.deactivated', decideDeactivate, {}, OFF, { name: 'debian' }],
    ['image.reactivated', decideReactivate, OFF, {}, { name: 'debian' }],
    [
      'image.deprecated',
      deprecate,
      {},
      DEPRECATED,
      { name: 'debian', deprecatedAt: AT.toISOString(), replacementImageId: NEWER },
    ],
    ['image.deprecation-ended', decideEndDeprecation, DEPRECATED, {}, { name: 'debian' }],
    ['image.revoked', revoke, {}, REVOKED, { name: 'debian', reason: 'back door' }],
    ['image.reinstated', reinstate, REVOKED, {}, { name: 'debian', reason: 'false alarm' }],
  ])('is one event, %s; asked for again it is none', (type, decide, before, after, data) => {
    const stream = `image:${IMAGE.id}`;
    expect(decide({ ...IMAGE, ...before }, COMMAND)).toEqual([
      { type, stream, key: `${type.replace('image.', '')}:r1`, data },
    ]);
    expect(decide({ ...IMAGE, ...after }, COMMAND)).toEqual([]);
  });

  it.each<[string, Decide]>([
    ['hold', hold],
    ['release', release],
    ['deactivate', decideDeactivate],
    ['reactivate', decideReactivate],
    ['deprecate', deprecate],
    ['end a deprecation', decideEndDeprecation],
    ['revoke', revoke],
    ['reinstate', reinstate],
  ])('is for owners alone: to %s', (_what, decide) => {
    const unknown = expect.objectContaining({ code: 'IMG.0144', status: 404 });
    expect(() => decide(undefined, COMMAND)).toThrow(unknown);
    expect(() => decide(IMAGE, { ...COMMAND, projectId: OTHER })).toThrow(unknown);
    const seen = { ...IMAGE, imageType: 'gold' };
    expect(() => decide(seen, { ...COMMAND, projectId: OTHER })).toThrow(
      expect.objectContaining({ code: 'IMG.0106', status: 400 }),
    );
    expect(() => decide(seen, { ...COMMAND, projectId: OTHER, dialect: 'openstack' })).toThrow(
      expect.objectContaining({ code: 'IMG.0106', status: 403 }),
    );
  });

  it('reaches into the recycle bin for holds and revocations, and to images that have gone for revocations alone', () => {
    const reaches = (changes: Partial<StatefulImage>) =>
      [hold, release, revoke, reinstate, deprecate, decideDeactivate].map((decide) => {
        try {
          decide({ ...IMAGE, ...changes }, COMMAND);
          return true;
        } catch {
          return false;
        }
      });
    expect(reaches({ isBinned: true })).toEqual([true, true, true, true, false, false]);
    expect(reaches({ isGone: true, status: 'deleted' })).toEqual([false, false, true, true, false, false]);
  });

  it('changes no reason behind anybody’s back', () => {
    const conflict = expect.objectContaining({ code: 'IMG.0035', status: 409 });
    expect(() => hold({ ...IMAGE, holdReason: 'case 6' }, COMMAND)).toThrow(conflict);
    expect(() => revoke({ ...IMAGE, revokeReason: 'leak' }, COMMAND)).toThrow(conflict);
  });

  it.each([
    ['is still being made', { isBeingMade: true }],
    ['waits for bytes', { status: 'queued' }],
    ['never got any', { status: 'killed' }],
  ])('neither holds nor deactivates an image that %s', (_what, changes) => {
    expect(() => hold({ ...IMAGE, ...changes }, COMMAND)).toThrow(expect.objectContaining({ code: 'IMG.0046' }));
    expect(() => decideDeactivate({ ...IMAGE, ...changes }, COMMAND)).toThrow(
      expect.objectContaining({ code: 'IMG.0046', status: 403 }),
    );
  });

  it('replaces an image by another one that the caller may use', () => {
    const by = (replacementImageId: string | null, isReplacementKnown: boolean) => () =>
      decideDeprecate(IMAGE, { ...COMMAND, at: AT, replacementImageId, isReplacementKnown });
    expect(by(IMAGE.id, true)).toThrow(expect.objectContaining({ code: 'IMG.0031' }));
    expect(by(NEWER, false)).toThrow(expect.objectContaining({ code: 'IMG.0027' }));
    expect(by(null, false)()).toHaveLength(1);
  });
});

describe('what is made of images', () => {
  it('is nothing of a revoked line, with the reason, and with the image where the caller may know it', () => {
    const image = aUsableImage();
    const check = (imageId: string | null) => () =>
      checkNotRevoked({ ...image, revoked: { imageId, reason: 'back door' } }, 'Ecs.0000');
    expect(check(image.id)).toThrow(`image ${image.id} was revoked: back door`);
    expect(check(NEWER)).toThrow(`image ${image.id} comes from image ${NEWER} that was revoked: back door`);
    expect(check(null)).toThrow(`image ${image.id} comes from an image that was revoked: back door`);
    expect(() => checkNotRevoked(image, 'Ecs.0000')).not.toThrow();
  });

  it('comes with a warning where an image is deprecated', () => {
    const image = aUsableImage();
    expect(warningsAbout([image])).toEqual([]);
    expect(
      warningsAbout([
        { ...image, deprecation: { at: AT, replacementImageId: NEWER } },
        { ...image, deprecation: { at: AT, replacementImageId: null } },
      ]),
    ).toEqual([
      `image ${image.id} is deprecated from 2027-01-01T00:00:00.000Z on; use image ${NEWER}`,
      `image ${image.id} is deprecated from 2027-01-01T00:00:00.000Z on`,
    ]);
  });
});
