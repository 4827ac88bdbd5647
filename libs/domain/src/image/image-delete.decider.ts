import { type ImageId, ImsError, type ProjectId, imageStream, quotaStream, usageStream } from '@ims/contract';
import type { DomainEvent } from '../domain-event';

export interface DeletableImage {
  id: ImageId;
  projectId: ProjectId;
  status: 'queued' | 'uploading' | 'saving' | 'active' | 'killed' | 'deleted';
  /** `__imagetype` (ims-api 2.2). */
  imageType: string;
  protected: boolean;
  /** The job that makes the image has not ended; an active image is one step before its end. */
  isBeingMade: boolean;
  /** Usage records of the image that are still open. */
  openUsageIds: readonly string[];
}

export interface DeleteImageCommand {
  /** Project of the caller. */
  projectId: ProjectId;
}

const FORBIDDEN = 403;
const NOT_FOUND = 404;
const CONFLICT = 409;

/**
 * Decides on deleting an image (ims-api 12.6): the events, or an `ImsError`.
 *
 * Refused: absent, deleted or another tenant's private image alike with IMG.0144 (404), so that ids cannot be probed; someone else's
 * visible image IMG.0092, public IMG.0094, marketplace IMG.0093, protected IMG.0091 (all 403); still being made IMG.0090 (409).
 */
export function decideDeleteImage(
  image: DeletableImage | undefined,
  command: DeleteImageCommand,
): { events: DomainEvent[] } {
  if (image === undefined || image.status === 'deleted') throw new ImsError('IMG.0144', undefined, NOT_FOUND);
  const isOwner = image.projectId === command.projectId;
  if (!isOwner && image.imageType === 'private') throw new ImsError('IMG.0144', undefined, NOT_FOUND);
  if (image.imageType === 'gold' || image.imageType === 'public') throw new ImsError('IMG.0094', undefined, FORBIDDEN);
  if (image.imageType === 'market') throw new ImsError('IMG.0093', undefined, FORBIDDEN);
  if (!isOwner) throw new ImsError('IMG.0092', undefined, FORBIDDEN);
  if (image.protected) throw new ImsError('IMG.0091', undefined, FORBIDDEN);
  switch (image.status) {
    case 'queued':
    case 'uploading':
    case 'saving':
      throw stillBeingMade();
    case 'killed':
      return { events: [deleted(image.id)] };
    case 'active':
      if (image.isBeingMade) throw stillBeingMade();
      return {
        events: [
          deleted(image.id),
          {
            type: 'quota.released',
            stream: quotaStream(image.projectId, 'image'),
            key: `release:${image.id}`,
            data: { resource: 'image', amount: 1, holder: image.id, from: 'used' },
          },
          ...image.openUsageIds.map((usageId): DomainEvent => ({
            type: 'usage.closed',
            stream: usageStream(image.id),
            key: `closed:${usageId}`,
            data: { usageId },
          })),
        ],
      };
    default:
      return image.status satisfies never;
  }
}

const stillBeingMade = (): ImsError => new ImsError('IMG.0090', 'cancel its job first', CONFLICT);

const deleted = (id: ImageId): DomainEvent => ({
  type: 'image.deleted',
  stream: imageStream(id),
  key: 'deleted',
  data: {},
});
