import type { ErrorCode } from '@ims/contract';
import type { NeighbourRefusal } from './neighbour.errors';

/**
 * What a neighbour's refusal is called where it ends a job (ims-api 15.2). Rules that have a code of their own (`imaging-rules.ts`) are asked first;
 * these are for what changes between the question and the act.
 */
export const CODE_OF_REFUSAL: Readonly<Record<NeighbourRefusal, ErrorCode>> = {
  NOT_FOUND: 'IMG.0121',
  // Ids are ours, so this is a defect of ours.
  CONFLICT: 'IMG.0061',
  INVALID: 'IMG.0105',
  WRONG_STATE: 'IMG.0022',
  // Another process has the disk open, or another task has the server.
  BUSY: 'IMG.0010',
  FROZEN: 'IMG.0008',
  WRONG_SIZE: 'IMG.0055',
  IN_USE: 'IMG.0139',
  WRONG_ARCHITECTURE: 'IMG.0212',
  TOO_MUCH_MEMORY: 'IMG.0055',
  WRONG_IMAGE_ROLE: 'IMG.0105',
  ONE_AT_A_TIME: 'IMG.0105',
  VAULT_FULL: 'IMG.0182',
  VAULT_UNUSABLE: 'IMG.0188',
  VAULT_WRONG_KIND: 'IMG.0193',
  VAULT_MEMBER_LIMIT: 'IMG.0185',
  SERVER_IN_OTHER_VAULT: 'IMG.0183',
  ALREADY_IMAGED: 'IMG.0029',
};
