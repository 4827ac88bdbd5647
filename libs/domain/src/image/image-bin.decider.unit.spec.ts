import { imageId, projectId } from '@ims/contract';
import type { BinImageCommand } from './image-bin.decider';
import {
  decideBinImage,
  decidePurgeImage,
  decideRestoreImage,
  decideRetention,
  goesToBin,
  MOST_RETENTION_DAYS,
  retentionOf,
} from './image-bin.decider';
import type { DeletableImage } from './image-delete.decider';

const PROJECT = projectId('0123456789abcdef0123456789abcdef');
const OTHER = projectId('f'.repeat(32));
const NOW = new Date('2026-11-24T10:00:00.000Z');
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
const COMMAND: BinImageCommand = {
  projectId: PROJECT,
  isBackupDeleted: false,
  retentionDays: 7,
  now: NOW,
  requestId: 'r1',
};
const types = (events: readonly { type: string }[]) => events.map(({ type }) => type);

describe('the recycle bin (MGT-05)', () => {
  it.each([
    ['active', 1, true],
    ['deactivated', 1, true],
    ['active', 0, false],
    ['queued', 7, false],
    ['uploading', 7, false],
    ['killed', 7, false],
  ] as const)('of an image that is %s with %i days: %s', (status, days, expected) => {
    expect(goesToBin({ status }, days)).toBe(expected);
  });

  it('asks the project before the installation, and takes 0 for an answer', () => {
    expect([retentionOf(null, 3), retentionOf(0, 3), retentionOf(9, 3)]).toEqual([3, 0, 9]);
  });

  it('takes an image out of the quota and keeps its bytes charged until its time is over', () => {
    const events = decideBinImage(IMAGE, COMMAND);
    expect(events).toEqual([
      {
        type: 'image.binned',
        stream: `image:${IMAGE.id}`,
        key: 'binned:r1',
        data: { name: 'debian', purgeAfter: '2026-12-01T10:00:00.000Z', isBackupDeleted: false },
      },
      expect.objectContaining({ type: 'quota.released', data: expect.objectContaining({ from: 'used', amount: 1 }) }),
    ]);
  });

  it.each<[string, Partial<DeletableImage>, BinImageCommand['projectId'], string]>([
    ['protected', { protected: true }, PROJECT, 'IMG.0091'],
    ['held', { holdReason: 'case 7' }, PROJECT, 'IMG.0091'],
    ['public', { imageType: 'gold' }, PROJECT, 'IMG.0094'],
    ['on the marketplace (MGT-06)', { imageType: 'market' }, PROJECT, 'IMG.0093'],
    ['being made', { isBeingMade: true }, PROJECT, 'IMG.0090'],
    ['somebody else’s', {}, OTHER, 'IMG.0144'],
  ])('takes none that is %s', (_what, changes, by, code) => {
    expect(() => decideBinImage({ ...IMAGE, ...changes }, { ...COMMAND, projectId: by })).toThrow(
      expect.objectContaining({ code }),
    );
  });

  const binned = { id: IMAGE.id, projectId: PROJECT, name: 'debian', isBinned: true };
  const restore = (image: Partial<typeof binned> | undefined, used = 49) =>
    decideRestoreImage(
      { image: image && { ...binned, ...image }, imageQuota: { limit: null, used, reserved: 0 } },
      { projectId: PROJECT, requestId: 'r2' },
    );

  it('gives an image back while there is room for it, and none beyond (CRE-23)', () => {
    expect(types(restore({}))).toEqual(['image.restored', 'quota.reserved', 'quota.settled']);
    expect(() => restore({}, 50)).toThrow(expect.objectContaining({ code: 'IMG.0015' }));
  });

  it.each([
    ['none', undefined],
    ['one that is not in it', { isBinned: false }],
    ['somebody else’s', { projectId: OTHER }],
  ])('restores and purges %s alike: it is not there', (_what, image) => {
    const refusal = expect.objectContaining({ code: 'IMG.0144', status: 404 });
    expect(() => restore(image)).toThrow(refusal);
    const found = image && { ...IMAGE, isBinned: true, purgeAfter: NOW, purgesBackup: false, ...image };
    expect(() => decidePurgeImage(found, { projectId: PROJECT })).toThrow(refusal);
  });

  const inBin = { ...IMAGE, isBinned: true, purgeAfter: NOW, purgesBackup: true };

  it('purges without a second look at the quota, and with the backup that was to go', () => {
    const { events, input } = decidePurgeImage({ ...inBin, backupId: 'b1' }, { projectId: PROJECT });
    expect(types(events)).toEqual(['image.deleted', 'usage.closed', 'job.accepted']);
    expect(input.backup).toEqual({ id: 'b1', isDeleted: true });
  });

  it('is swept at the end of its time and not a millisecond before, and never under a hold', () => {
    const sweep = (ms: number, changes: Partial<DeletableImage> = {}) =>
      decidePurgeImage({ ...inBin, ...changes }, { projectId: PROJECT, dueBy: new Date(NOW.getTime() + ms) });
    expect(types(sweep(0).events)).toContain('image.deleted');
    expect(() => sweep(-1)).toThrow(expect.objectContaining({ code: 'IMG.0144' }));
    expect(() => sweep(0, { holdReason: 'case 7' })).toThrow(expect.objectContaining({ code: 'IMG.0091' }));
  });

  it.each([
    [null, 0, 1],
    [null, MOST_RETENTION_DAYS, 1],
    [7, null, 1],
    [7, 7, 0],
  ])('changes the choice of a project from %s to %s by %i events', (before, retentionDays, count) => {
    expect(decideRetention(before, { projectId: PROJECT, retentionDays, requestId: 'r' })).toHaveLength(count);
  });

  it.each([-1, MOST_RETENTION_DAYS + 1])('refuses %i days', (retentionDays) => {
    expect(() => decideRetention(null, { projectId: PROJECT, retentionDays, requestId: 'r' })).toThrow(
      expect.objectContaining({ code: 'IMG.0001' }),
    );
  });
});
