import { imageId, projectId } from '@ims/contract';
import { type DeletableImage, decideDeleteImage } from './image-delete.decider';

const PROJECT = projectId('0123456789abcdef0123456789abcdef');
const OTHER = projectId('f'.repeat(32));
const IMAGE: DeletableImage = {
  id: imageId('5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c'),
  projectId: PROJECT,
  status: 'active',
  imageType: 'private',
  protected: false,
  isBeingMade: false,
  openUsageIds: ['u1'],
};
const decide = (image: DeletableImage | undefined, by = PROJECT) => decideDeleteImage(image, { projectId: by });

describe(decideDeleteImage.name, () => {
  it('deletes an active image, gives its quota back and ends its usage', () => {
    expect(decide(IMAGE).events).toEqual([
      { type: 'image.deleted', stream: `image:${IMAGE.id}`, key: 'deleted', data: {} },
      {
        type: 'quota.released',
        stream: `quota:${PROJECT}:image`,
        key: `release:${IMAGE.id}`,
        data: { resource: 'image', amount: 1, holder: IMAGE.id, from: 'used' },
      },
      { type: 'usage.closed', stream: `usage:${IMAGE.id}`, key: 'closed:u1', data: { usageId: 'u1' } },
    ]);
  });

  it('takes nothing back for an image that never became active', () => {
    expect(decide({ ...IMAGE, status: 'killed' }).events.map((event) => event.type)).toEqual(['image.deleted']);
  });

  it.each<[string, DeletableImage | undefined, string, number]>([
    ['an absent image', undefined, 'IMG.0144', 404],
    ['a deleted image', { ...IMAGE, status: 'deleted' }, 'IMG.0144', 404],
    ['a queued image', { ...IMAGE, status: 'queued' }, 'IMG.0090', 409],
    ['an image on its way', { ...IMAGE, status: 'saving' }, 'IMG.0090', 409],
    ['an active image whose job goes on', { ...IMAGE, isBeingMade: true }, 'IMG.0090', 409],
    ['a protected image', { ...IMAGE, protected: true }, 'IMG.0091', 403],
    ['a public image', { ...IMAGE, imageType: 'gold' }, 'IMG.0094', 403],
    ['a marketplace image', { ...IMAGE, imageType: 'market' }, 'IMG.0093', 403],
  ])('refuses %s', (_what, image, code, status) => {
    expect(() => decide(image)).toThrow(expect.objectContaining({ code, status }));
  });

  it("answers for another tenant's image as for an absent one, unless it can be seen", () => {
    expect(() => decide(IMAGE, OTHER)).toThrow(expect.objectContaining({ code: 'IMG.0144', status: 404 }));
    expect(() => decide({ ...IMAGE, protected: true }, OTHER)).toThrow(expect.objectContaining({ code: 'IMG.0144' }));
    expect(() => decide({ ...IMAGE, imageType: 'shared' }, OTHER)).toThrow(
      expect.objectContaining({ code: 'IMG.0092', status: 403 }),
    );
  });
});
