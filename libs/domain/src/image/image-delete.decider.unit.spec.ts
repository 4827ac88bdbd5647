import { imageDeleteJobId, imageId, projectId } from '@ims/contract';
import { type DeletableImage, decideDeleteImage } from './image-delete.decider';

const PROJECT = projectId('0123456789abcdef0123456789abcdef');
const OTHER = projectId('f'.repeat(32));
const IMAGE: DeletableImage = {
  id: imageId('5a0c7e39-3e0e-4c3f-9c0b-0c6d8f0a1b2c'),
  projectId: PROJECT,
  name: 'debian',
  backupId: null,
  status: 'active',
  imageType: 'private',
  protected: false,
  holdReason: null,
  isBeingMade: false,
  charges: [{ usageId: 'u1', backupId: null }],
};
const decide = (image: DeletableImage | undefined, by = PROJECT, isBackupDeleted = false) =>
  decideDeleteImage(image, { projectId: by, isBackupDeleted });
const JOB = imageDeleteJobId(IMAGE.id);
const ACCEPTED = {
  type: 'job.accepted',
  stream: `job:${JOB}`,
  key: 'accepted',
  data: {
    jobType: 'imsDeleteImageJob',
    saga: 'image-delete',
    imageId: IMAGE.id,
    imageName: 'debian',
    request: {},
    steps: ['release-origin', 'drop-staged'],
  },
};

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
      ACCEPTED,
    ]);
  });

  it('ends a charge for its backup in the stream of the backup (BIL-03)', () => {
    const { events } = decide({ ...IMAGE, charges: [{ usageId: 'u2', backupId: 'b1' }] });
    expect(events).toContainEqual({
      type: 'usage.closed',
      stream: 'usage:backup:b1',
      key: 'closed:u2',
      data: { usageId: 'u2' },
    });
  });

  it('takes nothing back for an image that never became active', () => {
    expect(decide({ ...IMAGE, status: 'killed' }).events.map((event) => event.type)).toEqual([
      'image.deleted',
      'job.accepted',
    ]);
  });

  it.each(['queued', 'uploading'] as const)(
    'takes back what was reserved for an image that is %s, by no job',
    (status) => {
      const { events } = decide({ ...IMAGE, status, charges: [] });
      expect(events.map((event) => event.type)).toEqual(['image.deleted', 'quota.released', 'job.accepted']);
      expect(events[1]?.data).toMatchObject({ amount: 1, holder: IMAGE.id, from: 'reserved' });
    },
  );

  it('names one job for one image, with the backup that it held and whether that goes too (ims-api 12.6)', () => {
    expect(decide(IMAGE).input).toEqual({
      jobId: '5a0c7e393e0e4c3f9c0b0c6d8f0a1b2c',
      epoch: 1,
      projectId: PROJECT,
      imageId: IMAGE.id,
      imageName: 'debian',
      backup: null,
    });
    const whole = { ...IMAGE, backupId: 'b1' };
    expect(decide(whole).input.backup).toEqual({ id: 'b1', isDeleted: false });
    const withBackup = decide(whole, PROJECT, true);
    expect(withBackup.input.backup).toEqual({ id: 'b1', isDeleted: true });
    expect(withBackup.events.at(-1)).toMatchObject({ data: { request: { delete_backup: true } } });
  });

  it.each<[string, DeletableImage | undefined, string, number]>([
    ['an absent image', undefined, 'IMG.0144', 404],
    ['a deleted image', { ...IMAGE, status: 'deleted' }, 'IMG.0144', 404],
    ['a queued image that a job makes', { ...IMAGE, status: 'queued', isBeingMade: true }, 'IMG.0090', 409],
    ['an image on its way in', { ...IMAGE, status: 'uploading', isBeingMade: true }, 'IMG.0090', 409],
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
