/**
 * Why a neighbour refused. One list for all ports, so callers can map a refusal to the error code of the call they serve:
 * which code that is depends on the call (`imaging-rules.ts` holds those of image creation).
 */
export const NEIGHBOUR_REFUSALS = {
  NOT_FOUND: 'no such thing in this project',
  CONFLICT: 'the id exists already and means something else',
  INVALID: 'the request is malformed',
  WRONG_STATE: 'its state does not allow this',
  BUSY: 'another task is running on it',
  FROZEN: 'it is frozen for unpaid bills; renew it first',
  WRONG_SIZE: 'the size is outside the limits or below what the source needs',
  IN_USE: 'it is attached or something depends on it',
  WRONG_ARCHITECTURE: 'image and flavour are of different processor architectures',
  TOO_MUCH_MEMORY: 'a 32-bit operating system cannot use more than 4 GiB of memory',
  WRONG_IMAGE_ROLE: 'this kind of image cannot be used here',
  ONE_AT_A_TIME: 'a data disk image makes only one disk at a time',
  VAULT_FULL: 'the vault has no room for the backup',
  VAULT_UNUSABLE: 'the state of the vault does not allow backups',
  VAULT_WRONG_KIND: 'the vault is not one for backups of servers',
  VAULT_MEMBER_LIMIT: 'the vault has its maximum of servers',
  SERVER_IN_OTHER_VAULT: 'the server belongs to another vault',
  ALREADY_IMAGED: 'an image was already made from this backup',
} as const;

export type NeighbourRefusal = keyof typeof NEIGHBOUR_REFUSALS;

/** A refusal that repeating the same call does not change (except BUSY, which passes). `detail` is safe to show to the caller. */
export class NeighbourError extends Error {
  override readonly name = 'NeighbourError';
  constructor(
    readonly refusal: NeighbourRefusal,
    readonly detail: string,
    options?: ErrorOptions,
  ) {
    super(`${detail}: ${NEIGHBOUR_REFUSALS[refusal]}`, options);
  }
}
