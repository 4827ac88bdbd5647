import {
  type ImageDeleteInput,
  type ImageId,
  imageStream,
  ImsError,
  type ProjectId,
  quotaStream,
  recycleBinStream,
} from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { checkQuota, DEFAULT_QUOTA, type QuotaState } from '../quota/quota.rules';
import { checkDeletable, checkHold, closed, type DeletableImage, deleted } from './image-delete.decider';

/** The longest time that a deleted image can be kept for: what is to stay longer is not deleted. */
export const MOST_RETENTION_DAYS = 365;
/** Without a choice of the installation's an image is gone with its deletion, as clients of the API know it. */
export const DEFAULT_RETENTION_DAYS = 0;

const DAY_MS = 24 * 60 * 60 * 1000;
const NOT_FOUND = 404;

/** For how long deleted images of a project stay: the project's own choice before the installation's; 0 is not at all. */
export const retentionOf = (chosen: number | null, ofInstallation: number): number => chosen ?? ofInstallation;

/** Only what has bytes is worth keeping: an image that waits for them, or never got any, is gone at once. */
export const goesToBin = ({ status }: Pick<DeletableImage, 'status'>, retentionDays: number): boolean =>
  retentionDays > 0 && (status === 'active' || status === 'deactivated');

export interface BinImageCommand {
  projectId: ProjectId;
  /** As of a deletion: it happens with the purge. */
  isBackupDeleted: boolean;
  retentionDays: number;
  now: Date;
  /** The call that asks for it. */
  requestId: string;
}

/**
 * Decides on deleting an image that stays in the recycle bin for a while (MGT-05): out of sight and out of the quota, its bytes kept and charged. Refusals
 * are those of `decideDeleteImage`.
 */
export function decideBinImage(found: DeletableImage | undefined, command: BinImageCommand): DomainEvent[] {
  const { projectId, isBackupDeleted, retentionDays, now, requestId } = command;
  const image = checkDeletable(found, projectId);
  return [
    {
      type: 'image.binned',
      stream: imageStream(image.id),
      key: `binned:${requestId}`,
      data: {
        name: image.name,
        purgeAfter: new Date(now.getTime() + retentionDays * DAY_MS).toISOString(),
        isBackupDeleted,
      },
    },
    {
      type: 'quota.released',
      stream: quotaStream(projectId, 'image'),
      key: `bin:${image.id}:${requestId}`,
      data: { resource: 'image', amount: 1, holder: image.id, from: 'used' },
    },
  ];
}

/** An image in the recycle bin, for its own project; everybody else knows of none. */
export interface BinnedImage {
  id: ImageId;
  projectId: ProjectId;
  name: string;
  isBinned: boolean;
}

function checkBinned<Image extends BinnedImage>(image: Image | undefined, projectId: ProjectId): Image {
  if (image?.isBinned !== true || image.projectId !== projectId)
    throw new ImsError('IMG.0144', 'it is not in the recycle bin', NOT_FOUND);
  return image;
}

/**
 * Takes an image out of the recycle bin, as it went in (MGT-05). Its place in the quota is asked for anew.
 *
 * @throws ImsError IMG.0144 (404) it is not in the bin, or has just been purged · IMG.0015 there is no room for it (CRE-23)
 */
export function decideRestoreImage(
  state: { image: BinnedImage | undefined; imageQuota: QuotaState },
  { projectId, requestId }: { projectId: ProjectId; requestId: string },
): DomainEvent[] {
  const image = checkBinned(state.image, projectId);
  checkQuota(state.imageQuota, DEFAULT_QUOTA.image, 'IMG.0015');
  const stream = quotaStream(projectId, 'image');
  const data = { resource: 'image', amount: 1, holder: image.id };
  return [
    {
      type: 'image.restored',
      stream: imageStream(image.id),
      key: `restored:${requestId}`,
      data: { name: image.name },
    },
    { type: 'quota.reserved', stream, key: `reserve:${image.id}:${requestId}`, data },
    { type: 'quota.settled', stream, key: `settle:${image.id}:${requestId}`, data },
  ];
}

/**
 * Removes an image from the recycle bin for good: what a deletion without a bin does, less the quota, which it has given back already. Without
 * `dueBy` its owner asks for it; with it the image must have been in the bin for its time by then.
 *
 * @throws ImsError IMG.0144 (404) it is not in the bin, or not for long enough · IMG.0091 (403) it is under a legal hold
 */
export function decidePurgeImage(
  found: (DeletableImage & { isBinned: boolean; purgeAfter: Date | null; purgesBackup: boolean }) | undefined,
  { projectId, dueBy }: { projectId: ProjectId; dueBy?: Date },
): { events: DomainEvent[]; input: ImageDeleteInput } {
  const image = checkBinned(found, projectId);
  if (dueBy !== undefined && (image.purgeAfter === null || image.purgeAfter > dueBy))
    throw new ImsError('IMG.0144', 'its time in the recycle bin is not over', NOT_FOUND);
  checkHold(image);
  return deleted(image, { projectId, isBackupDeleted: image.purgesBackup }, closed(image));
}

/** What a project chooses about its recycle bin; `null` takes the choice back. What is in it already keeps its time. */
export function decideRetention(
  before: number | null,
  { projectId, retentionDays, requestId }: { projectId: ProjectId; retentionDays: number | null; requestId: string },
): DomainEvent[] {
  if (before === retentionDays) return [];
  if (retentionDays !== null && (retentionDays < 0 || retentionDays > MOST_RETENTION_DAYS))
    throw new ImsError('IMG.0001', `retention_days must be 0 to ${MOST_RETENTION_DAYS}`);
  return [
    {
      type: 'recycle-bin.retention-set',
      stream: recycleBinStream(projectId),
      key: `retention:${requestId}`,
      data: { retentionDays },
    },
  ];
}
