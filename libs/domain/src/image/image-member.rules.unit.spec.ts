import { ImsError, projectId } from '@ims/contract';
import {
  checkAcceptingVault,
  checkCopiedShare,
  checkShareable,
  checkSharedByOwner,
  checkShareTarget,
  DEFAULT_SHARE_LIMITS,
  hasRoomForMember,
  type MemberState,
  membershipOf,
  type ShareableImage,
} from './image-member.rules';

const OWNER = projectId('a'.repeat(32));
const OTHER = projectId('b'.repeat(32));
const IMAGE: ShareableImage = {
  id: 'c0ffee00-0000-4000-8000-000000000000',
  projectId: OWNER,
  imageType: 'private',
  status: 'active',
  isEncrypted: false,
  isWholeServer: false,
  backupLine: null,
};
const refusal = (call: () => unknown): string => {
  try {
    call();
  } catch (err) {
    if (err instanceof ImsError) return err.code;
    throw err;
  }
  return 'none';
};
const member = (more: Partial<MemberState>): MemberState => ({
  memberId: OTHER,
  memberType: 'project',
  urn: null,
  via: null,
  status: 'pending',
  ...more,
});

describe('an image that is shared', () => {
  it.each<[string, Partial<ShareableImage>, string]>([
    ['is active (SHR-06)', {}, 'none'],
    ['is not still being made (SHR-06)', { status: 'saving' }, 'IMG.0046'],
    ['is not deactivated (SHR-06)', { status: 'deactivated' }, 'IMG.0046'],
    ['is not encrypted (SHR-07, ENC-04)', { isEncrypted: true }, 'IMG.0098'],
    ['may be of a whole server by CBR (CRE-20)', { isWholeServer: true, backupLine: 'CBR' }, 'none'],
    ['is not of a whole server by CSBS (CRE-20)', { isWholeServer: true, backupLine: 'CSBS' }, 'IMG.0135'],
    ['is not of a whole server without a backup (CRE-20)', { isWholeServer: true }, 'IMG.0135'],
  ])('%s', (_name, more, code) => {
    expect(refusal(() => checkShareable({ ...IMAGE, ...more }))).toBe(code);
  });

  it.each<[string, Partial<ShareableImage> | undefined, string, string]>([
    ['its owner', {}, 'none', 'none'],
    ['nobody when it is not there', undefined, 'IMG.0027', 'IMG.0144'],
    ['nobody when it is public (SHR-07)', { imageType: 'gold' }, 'IMG.0089', 'IMG.0089'],
    ['nobody when it is on the marketplace (SHR-07)', { imageType: 'market' }, 'IMG.0107', 'IMG.0107'],
    ['no member of it', { imageType: 'shared', projectId: OTHER }, 'IMG.0106', 'IMG.0106'],
  ])('is shared by %s', (_name, more, extension, openstack) => {
    const image = more === undefined ? undefined : { ...IMAGE, ...more };
    expect(refusal(() => checkSharedByOwner(image, OWNER, 'extension'))).toBe(extension);
    expect(refusal(() => checkSharedByOwner(image, OWNER, 'openstack'))).toBe(openstack);
  });

  it.each([
    ['somebody of this region', {}, 'none'],
    ['anybody but its owner (SHR-07)', { isOwner: true }, 'IMG.0076'],
    ['nobody of another region (SHR-02, SHR-08)', { isUnknown: true }, 'IMG.0108'],
  ])('is shared with %s', (_name, more, code) => {
    const target = { memberId: OTHER, memberType: 'project' as const, isUnknown: false, isOwner: false };
    expect(refusal(() => checkShareTarget({ ...target, ...more }))).toBe(code);
  });

  it.each([
    ['128 members, of a disk (SHR-03)', false, 128],
    ['10 members, of a whole server (SHR-04)', true, 10],
  ])('has up to %s', (_name, isWholeServer, most) => {
    const some = (count: number) => Array.from({ length: count }, (_, n) => member({ memberId: `${n}` }));
    // What projects answer to a share with their account takes no place.
    const answers = Array.from({ length: most }, (_, n) => member({ memberId: `p${n}`, via: '0' }));
    const room = (members: MemberState[]) => hasRoomForMember({ isWholeServer, members }, DEFAULT_SHARE_LIMITS);
    expect(room([...some(most - 1), ...answers])).toBe(true);
    expect(room(some(most))).toBe(false);
  });

  it.each([
    ['of somebody else is not copied before it is accepted (SHR-10)', 'pending', false, 'IMG.0196'],
    ['that was rejected is not copied (SHR-10)', 'rejected', false, 'IMG.0196'],
    ['that was accepted is copied (SHR-10)', 'accepted', false, 'none'],
    ['that was encrypted afterwards is not copied (SHR-10, ENC-04)', 'accepted', true, 'IMG.0197'],
    ['says nothing of an own one', null, true, 'none'],
  ] as const)('%s', (_name, memberStatus, isEncrypted, code) => {
    expect(refusal(() => checkCopiedShare({ id: IMAGE.id, memberStatus, isEncrypted }))).toBe(code);
  });
});

describe('the vault that an image of a whole server is accepted with (BIL-04)', () => {
  const VAULT = { objectType: 'server', protectType: 'backup', status: 'available' };
  it.each([
    ['is named', VAULT, undefined, 'IMG.0184'],
    ['is there', undefined, 'v', 'IMG.0184'],
    ['is for servers', { ...VAULT, objectType: 'disk' }, 'v', 'IMG.0193'],
    ['is for backups', { ...VAULT, protectType: 'replication' }, 'v', 'IMG.0193'],
    ['is in use', { ...VAULT, status: 'frozen' }, 'v', 'IMG.0188'],
    ['needs nothing else', VAULT, 'v', 'none'],
  ])('%s', (_name, vault, id, code) => {
    expect(refusal(() => checkAcceptingVault(vault, id))).toBe(code);
  });
});

describe(membershipOf, () => {
  const account = 'd'.repeat(32);
  it('is the project’s own before that by its account (SHR-02)', () => {
    const rows = [member({ status: 'accepted' }), member({ memberId: account, memberType: 'domain' })];
    expect(membershipOf(rows, OTHER, [OTHER, account])).toEqual({
      memberId: OTHER,
      via: undefined,
      status: 'accepted',
    });
  });
  it('is pending by an account until the project has answered, then what it answered', () => {
    const share = member({ memberId: account, memberType: 'domain' });
    expect(membershipOf([share], OTHER, [OTHER, account])).toEqual({
      memberId: OTHER,
      via: account,
      status: 'pending',
    });
    const answer = member({ via: account, status: 'rejected' });
    expect(membershipOf([share, answer], OTHER, [OTHER, account])?.status).toBe('rejected');
  });
  it('is none for a project that has left the account it answered by', () => {
    expect(membershipOf([member({ via: account, status: 'accepted' })], OTHER, [OTHER])).toBeUndefined();
  });
});
