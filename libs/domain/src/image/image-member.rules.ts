import { ImsError, type MemberStatus } from '@ims/contract';

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
