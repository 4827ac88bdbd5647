import {
  type ErrorCode,
  ImsError,
  type MemberName,
  type MemberStatus,
  type MemberType,
  type ProjectId,
} from '@ims/contract';
import { BAD_REQUEST, type Dialect, FORBIDDEN, NOT_FOUND } from './image-owner.rules';

/** With how many one image may be shared; what an installation allows may differ. */
export interface ShareLimits {
  /** SHR-03, of images of disks. */
  perImage: number;
  /** SHR-04, of images of whole servers. */
  perWholeImage: number;
}
export const DEFAULT_SHARE_LIMITS: ShareLimits = { perImage: 128, perWholeImage: 10 };

/** A row of an image's members: one that its owner named, or with `via` the answer of a project to a share with its account or organization. */
export interface MemberState {
  memberId: string;
  memberType: MemberType;
  urn: string | null;
  via: string | null;
  status: MemberStatus;
}

/** What decides whether an image may be shared. */
export interface ShareableImage {
  id: string;
  projectId: ProjectId;
  /** `__imagetype` as the caller sees it (ims-api 2.2). */
  imageType: string;
  status: string;
  isEncrypted: boolean;
  isWholeServer: boolean;
  /** Of the backup behind an image of a whole server. */
  backupLine: 'CBR' | 'CSBS' | null;
}

/** Whom an image is to be shared with. */
export interface ShareTarget extends MemberName {
  /** Nobody of that id is known in this region. */
  isUnknown: boolean;
  /** The owner's own project or account. */
  isOwner: boolean;
}

/**
 * An image whose members its owner changes.
 *
 * @throws ImsError IMG.0027, to OpenStack clients IMG.0144 (404), not there or not to be seen · 0089 public · 0107 on the marketplace · 0106 shared by
 *   somebody else; the last three are 403 to OpenStack clients
 */
export function checkSharedByOwner<Image extends Pick<ShareableImage, 'projectId' | 'imageType'>>(
  image: Image | undefined,
  projectId: ProjectId,
  dialect: Dialect,
): Image {
  if (image === undefined)
    throw dialect === 'openstack' ? new ImsError('IMG.0144', undefined, NOT_FOUND) : new ImsError('IMG.0027');
  const status = dialect === 'openstack' ? FORBIDDEN : BAD_REQUEST;
  if (image.imageType === 'gold' || image.imageType === 'public') throw new ImsError('IMG.0089', undefined, status);
  if (image.imageType === 'market') throw new ImsError('IMG.0107', undefined, status);
  if (image.projectId !== projectId) throw new ImsError('IMG.0106', undefined, status);
  return image;
}

type Rule = readonly [code: ErrorCode, isBroken: (image: ShareableImage) => boolean, why: string];

/** In the order in which they are told; each with its place in the checklist. */
const RULES: readonly Rule[] = [
  // SHR-06
  ['IMG.0046', ({ status }) => status !== 'active', 'only an active image is shared'],
  // SHR-07, ENC-04
  ['IMG.0098', ({ isEncrypted }) => isEncrypted, 'copy it without cmk_id and share the copy'],
  // SHR-07, CRE-20
  [
    'IMG.0135',
    ({ isWholeServer, backupLine }) => isWholeServer && backupLine !== 'CBR',
    'only an image of a whole server that is made from a CBR backup is shared',
  ],
];

/** Whether an image of the caller's own may be shared. @throws ImsError with the code of the first rule that is broken */
export function checkShareable(image: ShareableImage): void {
  for (const [code, isBroken, why] of RULES) if (isBroken(image)) throw new ImsError(code, `image ${image.id}: ${why}`);
}

/** Whether it can be shared with these at all. @throws ImsError IMG.0076 with oneself (SHR-07) · IMG.0108 nobody of that id here (SHR-02, SHR-08) */
export function checkShareTarget({ memberId, isUnknown, isOwner }: ShareTarget): void {
  if (isOwner) throw new ImsError('IMG.0076', `${memberId} is the owner`);
  if (isUnknown)
    throw new ImsError(
      'IMG.0108',
      `${JSON.stringify(memberId)} is not of this region; replicate the image to the region where it is, then share it there`,
    );
}

/** Whether one more may be added (SHR-03, SHR-04: IMG.0088). Answers of projects take no place. */
export function hasRoomForMember(
  image: Pick<ShareableImage, 'isWholeServer'> & { members: readonly MemberState[] },
  limits: ShareLimits,
): boolean {
  const named = image.members.filter(({ via }) => via === null).length;
  return named < (image.isWholeServer ? limits.perWholeImage : limits.perImage);
}

/** How a project has an image that is shared with it: as a member itself, or by its account or an organization, which `via` names. */
export interface Membership {
  memberId: string;
  via: string | undefined;
  status: MemberStatus;
}

/**
 * How a project has an image, if it has it.
 *
 * @param receivers ids of the project, of its account, and of what that is in of an organization
 */
export function membershipOf(
  members: readonly MemberState[],
  projectId: string,
  receivers: readonly string[],
): Membership | undefined {
  const own = members.find(({ memberId, via }) => memberId === projectId && (via === null || receivers.includes(via)));
  if (own !== undefined) return { memberId: projectId, via: own.via ?? undefined, status: own.status };
  const group = members.find(({ memberId, memberType }) => memberType !== 'project' && receivers.includes(memberId));
  return group && { memberId: projectId, via: group.memberId, status: 'pending' };
}

/** What of a vault decides whether an image of a whole server can be accepted with it (BIL-04). */
export interface AcceptingVault {
  objectType: string;
  protectType: string;
  status: string;
}

/** The vault that pays for what the receiver keeps. @throws ImsError IMG.0184 none, or unknown · 0193 of another kind · 0188 not in use */
export function checkAcceptingVault(vault: AcceptingVault | undefined, vaultId: string | undefined): void {
  if (vaultId === undefined) throw new ImsError('IMG.0184', 'vault_id is needed for an image of a whole server');
  if (vault === undefined) throw new ImsError('IMG.0184', `there is no vault ${JSON.stringify(vaultId)}`);
  if (vault.objectType !== 'server' || vault.protectType !== 'backup') throw new ImsError('IMG.0193');
  if (vault.status !== 'available') throw new ImsError('IMG.0188', `the vault is ${vault.status}`);
}

/**
 * Whether an image that somebody else shares may be copied, here or to another region (ims-api 7.1, SHR-10); of any other image this says nothing.
 *
 * @throws ImsError IMG.0196 not accepted yet · IMG.0197 encrypted
 */
export function checkCopiedShare(image: { id: string; memberStatus: MemberStatus | null; isEncrypted: boolean }): void {
  const { id, memberStatus, isEncrypted } = image;
  if (memberStatus === null) return;
  if (memberStatus !== 'accepted') throw new ImsError('IMG.0196', `accept image ${id} first`);
  if (isEncrypted) throw new ImsError('IMG.0197');
}
