import {
  type Actor,
  type ChangedMembers,
  ERRORS,
  type ErrorCode,
  imageId as toImageId,
  imageStream,
  ImsError,
  isErrorCode,
  type JobId,
  jobStream,
  MEMBER_CHANGE_STEPS,
  type MemberName,
  type MemberStatus,
  type ProjectId,
  shareStream,
  stepKey,
  TERMINAL_KEY,
  usageStream,
} from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { jobAccepted } from '../job/job-accepted';
import { type Charge, closeCharge } from '../usage/charges';
import {
  type AcceptingVault,
  checkAcceptingVault,
  checkShareable,
  checkSharedByOwner,
  checkShareTarget,
  DEFAULT_SHARE_LIMITS,
  hasRoomForMember,
  type MemberState,
  membershipOf,
  type ShareableImage,
  type ShareLimits,
  type ShareTarget,
} from './image-member.rules';
import { BAD_REQUEST, CONFLICT, type Dialect, FORBIDDEN, NOT_FOUND, TOO_LARGE } from './image-owner.rules';

/** An image with all that decides about its members. */
export interface MemberedImage extends ShareableImage {
  name: string;
  members: readonly MemberState[];
  /** What is charged for it to others than its owner. */
  charges: readonly (Charge & { projectId: string })[];
  /** Of all its disks, as they are stored. */
  storedBytes: number;
}

export interface MemberCommand {
  projectId: ProjectId;
  dialect: Dialect;
  /** Tells this change from others of the same member. */
  changeId: string;
  limits?: ShareLimits;
}

type Result = ChangedMembers['results'][number];
interface PairChange {
  events: DomainEvent[];
  errorCode: ErrorCode | null;
}

const done = (events: DomainEvent[] = []): PairChange => ({ events, errorCode: null });
const failed = (errorCode: ErrorCode): PairChange => ({ events: [], errorCode });
const nameOf = ({ memberId, memberType, urn }: MemberName): MemberName => ({
  memberId,
  memberType,
  ...(urn === undefined ? {} : { urn }),
});

function share(image: MemberedImage, target: ShareTarget, { changeId, limits }: MemberCommand): PairChange {
  if (isMember(image, target.memberId)) return done();
  if (!hasRoomForMember(image, limits ?? DEFAULT_SHARE_LIMITS)) return failed('IMG.0088');
  return done([
    {
      type: 'image.member-added',
      stream: imageStream(toImageId(image.id)),
      key: `member-added:${target.memberId}:${changeId}`,
      data: nameOf(target),
    },
  ]);
}

function unshare(image: MemberedImage, target: MemberName, { changeId }: MemberCommand): PairChange {
  const member = named(image, target.memberId);
  if (member === undefined) return failed('IMG.0113');
  return done([
    {
      type: 'image.member-removed',
      stream: imageStream(toImageId(image.id)),
      key: `member-removed:${target.memberId}:${changeId}`,
      data: asEventHasIt(member),
    },
    ...closedCharges(image, target.memberId),
  ]);
}

const named = ({ members }: MemberedImage, id: string): MemberState | undefined =>
  members.find(({ memberId, via }) => memberId === id && via === null);
const isMember = (image: MemberedImage, id: string): boolean => named(image, id) !== undefined;
const asEventHasIt = ({ memberId, memberType, urn }: MemberState): MemberName => ({
  memberId,
  memberType,
  ...(urn === null ? {} : { urn }),
});

/** What projects pay that have the image by this member alone. */
function closedCharges(image: MemberedImage, memberId: string): DomainEvent[] {
  const projects = new Set([
    memberId,
    ...image.members.filter(({ via }) => via === memberId).map((answer) => answer.memberId),
  ]);
  return image.charges
    .filter(({ projectId }) => projects.has(projectId))
    .map((charge) => ({ ...closeCharge(charge, toImageId(image.id)), projectId: charge.projectId }));
}

/** As it will be after the events, for the next pair of the same call. */
function withMember(image: MemberedImage, target: ShareTarget): MemberedImage {
  const { memberId, memberType, urn = null } = target;
  const others = image.members.filter((member) => member.memberId !== memberId);
  return { ...image, members: [...others, { memberId, memberType, urn, via: null, status: 'pending' }] };
}

/**
 * Decides on sharing an image with one more (ims-api 12.9).
 *
 * @throws ImsError as `checkSharedByOwner`, `checkShareable` and `checkShareTarget`; IMG.0112 (409) it is a member already; IMG.0088 (413) no room
 */
export function decideAddMember(
  image: MemberedImage | undefined,
  target: ShareTarget,
  command: MemberCommand,
): { events: DomainEvent[] } {
  const own = checkSharedByOwner(image, command.projectId, command.dialect);
  checkShareable(own);
  checkShareTarget(target);
  if (isMember(own, target.memberId)) throw new ImsError('IMG.0112', 'it is a member already', CONFLICT);
  const { events, errorCode } = share(own, target, command);
  if (errorCode !== null) throw new ImsError(errorCode, undefined, TOO_LARGE);
  return { events };
}

/** Decides on the end of a share by the owner (ims-api 12.9). @throws ImsError as `checkSharedByOwner`; IMG.0113 (404) it is no member */
export function decideRemoveMember(
  image: MemberedImage | undefined,
  target: MemberName,
  command: MemberCommand,
): { events: DomainEvent[] } {
  const own = checkSharedByOwner(image, command.projectId, command.dialect);
  const { events, errorCode } = unshare(own, target, command);
  if (errorCode !== null) throw new ImsError(errorCode, 'there is no such member', NOT_FOUND);
  return { events };
}

export interface AnsweringProject {
  projectId: ProjectId;
  accountId: string;
  accountName: string;
  /** Ids by which an image can be shared with the project. */
  receivers: readonly string[];
}

export interface AnswerCommand extends MemberCommand {
  caller: AnsweringProject;
  status: MemberStatus;
  vaultId?: string | undefined;
}

// What the owner's trail tells of somebody else: which account it was, nothing of its people and machines.
const seenByOwner = ({ accountId, accountName }: AnsweringProject): Actor => ({ kind: 'user', accountId, accountName });

/**
 * Decides on what a receiver says to an image (ims-api 9.1, 12.9). Said again it changes nothing. An image of a whole server is accepted with a vault,
 * whose owner pays for what is kept of it (BIL-04); one of disks costs its receiver nothing.
 *
 * @throws ImsError IMG.0027, to OpenStack clients IMG.0144 (404): not shared with the caller · IMG.0105, to OpenStack clients with 403: it is the
 *   caller's own · as `checkAcceptingVault`
 */
export function decideAnswerShare(
  image: MemberedImage | undefined,
  vault: AcceptingVault | undefined,
  command: AnswerCommand,
): { events: DomainEvent[] } {
  const { caller, status, vaultId, changeId } = command;
  const { image: shared, membership } = receivedBy(image, command);
  if (membership.status === status) return { events: [] };
  const isCharged = shared.isWholeServer && status === 'accepted';
  if (isCharged) checkAcceptingVault(vault, vaultId);
  const { via } = membership;
  const member = { memberId: caller.projectId, ...(via === undefined ? {} : { via }) };
  const withVault = isCharged && vaultId !== undefined ? { vaultId } : {};
  const id = toImageId(shared.id);
  const inImage = {
    stream: imageStream(id),
    key: `member-${status}:${caller.projectId}:${changeId}`,
    projectId: shared.projectId,
    actor: seenByOwner(caller),
  };
  return {
    events: [
      answered(status, inImage, member, withVault),
      {
        type: 'share.answered',
        stream: shareStream(id, caller.projectId),
        key: `${status}:${changeId}`,
        data: { imageId: id, imageName: shared.name, status, ...withVault },
      },
      ...(isCharged
        ? [shareCharge(shared, command)]
        : closedCharges(shared, caller.projectId).filter(() => status !== 'accepted')),
    ],
  };
}

function answered(
  status: MemberStatus,
  common: Pick<DomainEvent, 'stream' | 'key' | 'projectId' | 'actor'>,
  member: { memberId: string; via?: string },
  withVault: { vaultId?: string },
): DomainEvent {
  switch (status) {
    case 'accepted':
      return { type: 'image.member-accepted', ...common, data: { ...member, ...withVault } };
    case 'rejected':
      return { type: 'image.member-rejected', ...common, data: member };
    case 'pending':
      return { type: 'image.member-reopened', ...common, data: member };
    default:
      return status satisfies never;
  }
}

/** Each acceptance is charged by a record of its own: the one before it has ended. */
function shareCharge({ id, storedBytes }: MemberedImage, { caller, changeId }: AnswerCommand): DomainEvent {
  return {
    type: 'usage.opened',
    stream: usageStream(toImageId(id)),
    key: `opened:share:${caller.projectId}:${changeId}`,
    data: {
      usageId: `backup-storage:${id}:${caller.projectId}:${changeId}`,
      imageId: id,
      meter: 'backup.storage',
      quantityBytes: storedBytes,
    },
  };
}

function receivedBy(
  image: MemberedImage | undefined,
  { caller, dialect }: { caller: AnsweringProject; dialect: Dialect },
) {
  if (image?.projectId === caller.projectId)
    throw new ImsError(
      'IMG.0105',
      'only whom it is shared with answers',
      dialect === 'openstack' ? FORBIDDEN : BAD_REQUEST,
    );
  const membership = image && membershipOf(image.members, caller.projectId, caller.receivers);
  if (image === undefined || membership === undefined)
    throw dialect === 'openstack' ? new ImsError('IMG.0144', undefined, NOT_FOUND) : new ImsError('IMG.0027');
  return { image, membership };
}

/**
 * Decides on a member's leaving (ims-api 12.9): it gives back what is shared with itself; what it has by its account or an organization it can only reject.
 *
 * @throws ImsError IMG.0144 (404) not shared with the caller · IMG.0105 (403) not with the caller's project itself
 */
export function decideLeaveShare(
  image: MemberedImage | undefined,
  command: MemberCommand & { caller: AnsweringProject },
): { events: DomainEvent[] } {
  const { caller, changeId } = command;
  const { image: shared, membership } = receivedBy(image, command);
  if (membership.via !== undefined)
    throw new ImsError('IMG.0105', `it is shared with ${membership.via}; reject it instead`, FORBIDDEN);
  const id = toImageId(shared.id);
  return {
    events: [
      {
        type: 'image.member-left',
        stream: imageStream(id),
        key: `member-left:${caller.projectId}:${changeId}`,
        data: { memberId: caller.projectId, memberType: 'project' },
        projectId: shared.projectId,
        actor: seenByOwner(caller),
      },
      {
        type: 'share.left',
        stream: shareStream(id, caller.projectId),
        key: `left:${changeId}`,
        data: { imageId: id, imageName: shared.name },
      },
      ...closedCharges(shared, caller.projectId),
    ],
  };
}

export interface BatchCommand {
  projectId: ProjectId;
  jobId: JobId;
  request: unknown;
  limits?: ShareLimits;
}

/**
 * Decides on sharing images with targets (ims-api 9.1): a job that has ended when it is accepted, with a result for each image and target. What is wrong
 * with an image or a target is refused as a whole; only that an image has no room (IMG.0088) is told for each target, because it depends on who came first.
 *
 * @throws ImsError as `checkSharedByOwner`, `checkShareable` and `checkShareTarget`
 */
export function decideShareImages(
  images: readonly (MemberedImage | undefined)[],
  targets: readonly ShareTarget[],
  { jobId, ...rest }: BatchCommand,
): { events: DomainEvent[] } {
  const command: MemberCommand = { ...rest, dialect: 'extension', changeId: jobId };
  const own = images.map((image) => checkSharedByOwner(image, command.projectId, 'extension'));
  own.forEach(checkShareable);
  targets.forEach(checkShareTarget);
  const pairs: Pair[] = [];
  for (const image of own) {
    let members = image;
    for (const target of targets) {
      const change = share(members, target, command);
      if (change.events.length > 0) members = withMember(members, target);
      pairs.push({ image, target, change });
    }
  }
  return { events: endedJob('imsAddImageMembersJob', pairs, { jobId, ...rest }) };
}

/** Decides on the end of shares (ims-api 9.1), as `decideShareImages`; a target that is no member is told as IMG.0113. */
export function decideUnshareImages(
  images: readonly (MemberedImage | undefined)[],
  targets: readonly MemberName[],
  { jobId, ...rest }: BatchCommand,
): { events: DomainEvent[] } {
  const command: MemberCommand = { ...rest, dialect: 'extension', changeId: jobId };
  const own = images.map((image) => checkSharedByOwner(image, command.projectId, 'extension'));
  const pairs = own.flatMap((image) =>
    targets.map((target): Pair => ({ image, target, change: unshare(image, target, command) })),
  );
  return { events: endedJob('imsDelImageMembersJob', pairs, { jobId, ...rest }) };
}

/** Decides on what a receiver says to several images (ims-api 9.1), all or none of them. @throws ImsError as `decideAnswerShare` */
export function decideAnswerShares(
  images: readonly (MemberedImage | undefined)[],
  vault: AcceptingVault | undefined,
  answer: BatchCommand & { caller: AnsweringProject; status: 'accepted' | 'rejected'; vaultId?: string | undefined },
): { events: DomainEvent[] } {
  const { jobId, caller } = answer;
  const target: MemberName = { memberId: caller.projectId, memberType: 'project' };
  const pairs = images.map((image): Pair => {
    const command: AnswerCommand = { ...answer, dialect: 'extension', changeId: jobId };
    const { events } = decideAnswerShare(image, vault, command);
    // An image that is not there has been refused.
    return { image: image ?? { id: '' }, target, change: done(events) };
  });
  return { events: endedJob('imsUpdateImageMembersJob', pairs, answer) };
}

interface Pair {
  image: { id: string };
  target: MemberName;
  change: PairChange;
}

/** The changes, and the job that tells of them: it fails where none of them could be made. */
function endedJob(jobType: string, pairs: readonly Pair[], { jobId, request }: BatchCommand): DomainEvent[] {
  const results = pairs.map(({ image, target, change }): Result => ({
    imageId: image.id,
    memberId: target.memberId,
    memberType: target.memberType,
    errorCode: change.errorCode,
  }));
  const [first] = results;
  const isLost = results.every(({ errorCode }) => errorCode !== null);
  const code = first?.errorCode;
  const stream = jobStream(jobId);
  const [step] = MEMBER_CHANGE_STEPS;
  return [
    jobAccepted(jobId, {
      jobType,
      saga: 'member-change',
      imageId: null,
      imageName: '',
      request,
      steps: [...MEMBER_CHANGE_STEPS],
    }),
    { type: 'job.started', stream, key: 'started', data: {} },
    ...pairs.flatMap(({ change }) => change.events),
    { type: 'member-change.step-completed', stream, key: stepKey(step), data: { step, output: { results } } },
    isLost && typeof code === 'string' && isErrorCode(code)
      ? {
          type: 'job.failed',
          stream,
          key: TERMINAL_KEY,
          data: { errorCode: code, reason: ERRORS[code].message, step },
        }
      : { type: 'job.succeeded', stream, key: TERMINAL_KEY, data: { imageId: null } },
  ];
}
