import { type ImageId, imageStream, ImsError, type ProjectId } from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { BAD_REQUEST, CONFLICT, type Dialect, FORBIDDEN, NOT_FOUND } from './image-owner.rules';

/** An image as decisions about its use need it. */
export interface StatefulImage {
  id: ImageId;
  projectId: ProjectId;
  name: string;
  /** `__imagetype` (ims-api 2.2). */
  imageType: string;
  status: string;
  /** Deleted, or withdrawn with the job that was to make it. */
  isGone: boolean;
  isBinned: boolean;
  /** The job that makes it has not ended. */
  isBeingMade: boolean;
  holdReason: string | null;
  deprecation: { at: Date; replacementImageId: string | null } | null;
  revokeReason: string | null;
}

export interface StateCommand {
  /** Project of the caller. */
  projectId: ProjectId;
  /** The call that asks for it. */
  requestId: string;
  dialect?: Dialect;
}

type Found = StatefulImage | undefined;

/** How an image may be found: in the recycle bin, or when it has gone. */
interface Reach {
  binned?: true;
  gone?: true;
}

/**
 * An image of the caller's own, of whatever type: public images have an owner too.
 *
 * @throws ImsError IMG.0144 (404) not there, or not to be seen · IMG.0106 somebody else's, 403 to OpenStack clients
 */
function checkOwn(image: Found, { projectId, dialect = 'extension' }: StateCommand, reach: Reach = {}): StatefulImage {
  const isThere =
    image !== undefined && (reach.gone ?? !image.isGone) && (reach.binned ?? reach.gone ?? !image.isBinned);
  if (!isThere) throw new ImsError('IMG.0144', undefined, NOT_FOUND);
  if (image.projectId === projectId) return image;
  if (image.imageType === 'private') throw new ImsError('IMG.0144', undefined, NOT_FOUND);
  throw new ImsError('IMG.0106', undefined, dialect === 'openstack' ? FORBIDDEN : BAD_REQUEST);
}

/**
 * Lays a legal hold on an image, also on one in the recycle bin: nothing deletes or purges it until the hold is released. An image that a job is
 * still making cannot be held, because the job must be able to take it back.
 *
 * @throws ImsError as `checkOwn`; IMG.0046 it is still being made, or has no bytes · IMG.0035 (409) a hold with another reason lies on it
 */
export function decideHold(found: Found, command: StateCommand & { reason: string; by: string }): DomainEvent[] {
  const image = checkOwn(found, command, { binned: true });
  const { reason, by, requestId } = command;
  if (image.holdReason === reason) return [];
  if (image.holdReason !== null) throw new ImsError('IMG.0035', `it is held already: ${image.holdReason}`, CONFLICT);
  checkMade(image, BAD_REQUEST);
  const { id, name } = image;
  return [{ type: 'image.held', stream: imageStream(id), key: `held:${requestId}`, data: { name, reason, by } }];
}

/** The way back; of an image that nothing holds there is nothing to release. */
export function decideReleaseHold(
  found: Found,
  command: StateCommand & { reason: string | null; by: string },
): DomainEvent[] {
  const { id, name, holdReason } = checkOwn(found, command, { binned: true });
  const { reason, by, requestId } = command;
  if (holdReason === null) return [];
  const data = { name, reason, by };
  return [{ type: 'image.hold-released', stream: imageStream(id), key: `hold-released:${requestId}`, data }];
}

/**
 * Takes an image out of use: it gives no bytes and makes nothing, and is otherwise as it was.
 *
 * @throws ImsError as `checkOwn`; IMG.0046 (403) it is neither active nor deactivated, or its job has not ended
 */
export function decideDeactivate(found: Found, command: StateCommand): DomainEvent[] {
  const image = checkOwn(found, command);
  if (image.status === 'deactivated') return [];
  checkMade(image, FORBIDDEN);
  const { id, name } = image;
  return [
    { type: 'image.deactivated', stream: imageStream(id), key: `deactivated:${command.requestId}`, data: { name } },
  ];
}

/** The way back. @throws ImsError as `decideDeactivate` */
export function decideReactivate(found: Found, command: StateCommand): DomainEvent[] {
  const image = checkOwn(found, command);
  if (image.status === 'active') return [];
  checkMade(image, FORBIDDEN);
  const { id, name } = image;
  return [
    { type: 'image.reactivated', stream: imageStream(id), key: `reactivated:${command.requestId}`, data: { name } },
  ];
}

/**
 * Tells users of an image to use another one from some time on; servers can still be made of it.
 *
 * @throws ImsError as `checkOwn`; IMG.0031 it would replace itself · IMG.0027 the caller may see no image of the replacement's id
 */
export function decideDeprecate(
  found: Found,
  command: StateCommand & {
    at: Date;
    replacementImageId: string | null;
    /** Whether the caller may use the replacement. */
    isReplacementKnown: boolean;
  },
): DomainEvent[] {
  const { id, name, deprecation } = checkOwn(found, command);
  const { at, replacementImageId, isReplacementKnown, requestId } = command;
  if (replacementImageId === id) throw new ImsError('IMG.0031', 'an image does not replace itself');
  if (replacementImageId !== null && !isReplacementKnown)
    throw new ImsError('IMG.0027', 'there is no image with the id of the replacement');
  if (deprecation?.at.getTime() === at.getTime() && deprecation.replacementImageId === replacementImageId) return [];
  const data = { name, deprecatedAt: at.toISOString(), replacementImageId };
  return [{ type: 'image.deprecated', stream: imageStream(id), key: `deprecated:${requestId}`, data }];
}

/** The way back. */
export function decideEndDeprecation(found: Found, command: StateCommand): DomainEvent[] {
  const { id, name, deprecation } = checkOwn(found, command);
  if (deprecation === null) return [];
  const key = `deprecation-ended:${command.requestId}`;
  return [{ type: 'image.deprecation-ended', stream: imageStream(id), key, data: { name } }];
}

/**
 * Revokes an image: neither it nor any image that descends from it, at any depth and whoever's it is, makes servers and disks any more. Also of an
 * image that has gone, since its descendants have not. Servers that are there live on.
 *
 * @throws ImsError as `checkOwn`; IMG.0035 (409) it is revoked for another reason
 */
export function decideRevoke(found: Found, command: StateCommand & { reason: string }): DomainEvent[] {
  const { id, name, revokeReason } = checkOwn(found, command, { gone: true });
  const { reason, requestId } = command;
  if (revokeReason === reason) return [];
  if (revokeReason !== null) throw new ImsError('IMG.0035', `it is revoked already: ${revokeReason}`, CONFLICT);
  return [{ type: 'image.revoked', stream: imageStream(id), key: `revoked:${requestId}`, data: { name, reason } }];
}

/** The way back. */
export function decideReinstate(found: Found, command: StateCommand & { reason: string | null }): DomainEvent[] {
  const { id, name, revokeReason } = checkOwn(found, command, { gone: true });
  const { reason, requestId } = command;
  if (revokeReason === null) return [];
  return [
    { type: 'image.reinstated', stream: imageStream(id), key: `reinstated:${requestId}`, data: { name, reason } },
  ];
}

/** Its bytes are there, and no job is about to take them back. */
function checkMade({ status, isBeingMade }: StatefulImage, refusal: number): void {
  if (isBeingMade) throw new ImsError('IMG.0046', 'the job that makes it has not ended', refusal);
  if (status !== 'active' && status !== 'deactivated')
    throw new ImsError('IMG.0046', `it is ${status}, not active`, refusal);
}
