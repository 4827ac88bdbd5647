import { ImsError, type ProjectId } from '@ims/contract';

/** The two ways of speaking to the service: what one refuses with a code, the other refuses with a status of its own (ims-api 12.1, 15). */
export type Dialect = 'extension' | 'openstack';

export const BAD_REQUEST = 400;
export const FORBIDDEN = 403;
export const NOT_FOUND = 404;
export const CONFLICT = 409;
export const TOO_LARGE = 413;

/** What has to be known of an image before its owner may change it. */
export interface OwnedImage {
  projectId: ProjectId;
  /** `__imagetype` (ims-api 2.2). */
  imageType: string;
  status: string;
}

/**
 * An image as its owner changes it: only who owns a private image may (ims-api 5, 12.5).
 *
 * Fails with IMG.0144 (404) for an image that is not there, deleted or not to be seen, IMG.0083 for a public one, IMG.0106 for one that somebody else
 * shares with the caller; the last two are 403 to OpenStack clients.
 */
export function checkOwner<Image extends OwnedImage>(
  image: Image | undefined,
  projectId: ProjectId,
  dialect: Dialect,
): Image {
  if (image === undefined || image.status === 'deleted') throw new ImsError('IMG.0144', undefined, NOT_FOUND);
  const isOwner = image.projectId === projectId;
  if (!isOwner && image.imageType === 'private') throw new ImsError('IMG.0144', undefined, NOT_FOUND);
  const status = dialect === 'openstack' ? FORBIDDEN : BAD_REQUEST;
  if (image.imageType === 'gold' || image.imageType === 'public' || image.imageType === 'market')
    throw new ImsError('IMG.0083', undefined, status);
  if (!isOwner) throw new ImsError('IMG.0106', undefined, status);
  return image;
}
