import {
  IMAGE_DELETE_STEPS,
  type ImageDeleteInput,
  imageDeleteJobId,
  type ImageId,
  ImsError,
  type ProjectId,
  imageStream,
  quotaStream,
} from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { jobAccepted } from '../job/job-accepted';
import { type Charge, closeCharge } from '../usage/charges';

export interface DeletableImage {
  id: ImageId;
  projectId: ProjectId;
  name: string;
  /** `__backup_id`: the backup that the image was made from (ims-api 2.2). */
  backupId: string | null;
  status: 'queued' | 'uploading' | 'saving' | 'active' | 'deactivated' | 'killed' | 'deleted';
  /** `__imagetype` (ims-api 2.2). */
  imageType: string;
  protected: boolean;
  /** Why it is under a legal hold; `null`: it is not. */
  holdReason: string | null;
  /** The job that makes the image has not ended; an active image is one step before its end. */
  isBeingMade: boolean;
  /** Everything that is still charged for the image. */
  charges: readonly Charge[];
}

export interface DeleteImageCommand {
  /** Project of the caller. */
  projectId: ProjectId;
  /** `delete_backup` (ims-api 12.6). */
  isBackupDeleted: boolean;
}

// The contract's deletions are no jobs (ims-api 10.4 has no name for them); ours is made like the others.
const JOB_TYPE = 'imsDeleteImageJob';

const FORBIDDEN = 403;
const NOT_FOUND = 404;
const CONFLICT = 409;

/**
 * Decides on deleting an image (ims-api 12.6): the events and the input of the job that does what follows, or an `ImsError`. The image itself
 * is gone with the events.
 *
 * Refused: absent, deleted or another tenant's private image alike with IMG.0144 (404), so that ids cannot be probed; someone else's
 * visible image IMG.0092, public IMG.0094, marketplace IMG.0093, protected or under a legal hold IMG.0091 (all 403); still being made IMG.0090 (409).
 */
export function decideDeleteImage(
  found: DeletableImage | undefined,
  command: DeleteImageCommand,
): { events: DomainEvent[]; input: ImageDeleteInput } {
  const image = checkDeletable(found, command.projectId);
  switch (image.status) {
    case 'saving':
      throw stillBeingMade();
    case 'queued':
    case 'uploading':
      // It waits for bytes: its place in the quota is all there is to give back.
      return deleted(image, command, [released(image, 'reserved')]);
    case 'killed':
    case 'deleted':
      return deleted(image, command, []);
    case 'active':
    case 'deactivated':
      return deleted(image, command, [released(image, 'used'), ...closed(image)]);
    default:
      return image.status satisfies never;
  }
}

/** The charges for what an image keeps end with it. */
export const closed = ({ id, charges }: Pick<DeletableImage, 'id' | 'charges'>): DomainEvent[] =>
  charges.map((charge) => closeCharge(charge, id));

/** What stands against deleting an image, whether it is gone at once or goes into the recycle bin; refusals as `decideDeleteImage` says. */
export function checkDeletable(image: DeletableImage | undefined, projectId: ProjectId): DeletableImage {
  if (image === undefined || image.status === 'deleted') throw new ImsError('IMG.0144', undefined, NOT_FOUND);
  const isOwner = image.projectId === projectId;
  if (!isOwner && image.imageType === 'private') throw new ImsError('IMG.0144', undefined, NOT_FOUND);
  if (image.imageType === 'gold' || image.imageType === 'public') throw new ImsError('IMG.0094', undefined, FORBIDDEN);
  if (image.imageType === 'market') throw new ImsError('IMG.0093', undefined, FORBIDDEN);
  if (!isOwner) throw new ImsError('IMG.0092', undefined, FORBIDDEN);
  if (image.protected) throw new ImsError('IMG.0091', undefined, FORBIDDEN);
  checkHold(image);
  if (image.status !== 'killed' && image.isBeingMade) throw stillBeingMade();
  return image;
}

/** A legal hold stands against every way of losing an image. @throws ImsError IMG.0091 (403) */
export function checkHold({ holdReason }: Pick<DeletableImage, 'holdReason'>): void {
  if (holdReason !== null) throw new ImsError('IMG.0091', `it is under a legal hold: ${holdReason}`, FORBIDDEN);
}

const stillBeingMade = (): ImsError => new ImsError('IMG.0090', 'cancel its job first', CONFLICT);

const released = ({ id, projectId }: DeletableImage, from: 'used' | 'reserved'): DomainEvent => ({
  type: 'quota.released',
  stream: quotaStream(projectId, 'image'),
  key: `release:${id}`,
  data: { resource: 'image', amount: 1, holder: id, from },
});

/** The image goes, with what it gives back, and the job of what follows is accepted. */
export function deleted(
  image: DeletableImage,
  { isBackupDeleted }: DeleteImageCommand,
  givenBack: readonly DomainEvent[],
): { events: DomainEvent[]; input: ImageDeleteInput } {
  const jobId = imageDeleteJobId(image.id);
  const { id: imageId, name: imageName, projectId, backupId } = image;
  return {
    events: [
      { type: 'image.deleted', stream: imageStream(imageId), key: 'deleted', data: {} },
      ...givenBack,
      jobAccepted(jobId, {
        jobType: JOB_TYPE,
        saga: 'image-delete',
        imageId,
        imageName,
        request: isBackupDeleted ? { delete_backup: true } : {},
        steps: [...IMAGE_DELETE_STEPS],
      }),
    ],
    input: {
      jobId,
      epoch: 1,
      projectId,
      imageId,
      imageName,
      backup: backupId === null ? null : { id: backupId, isDeleted: isBackupDeleted },
    },
  };
}
