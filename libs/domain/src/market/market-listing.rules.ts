import { type ErrorCode, ImsError } from '@ims/contract';

/** What decides whether an image may be sold on the marketplace (IMG-14, ims-api 15). */
export interface ListableContent {
  status: string;
  /** `__imagetype` of the row: private, gold, market. */
  imageType: string;
  virtualEnvType: string;
  isWholeServer: boolean;
  /** `__backup_id`: it was made from a backup. */
  backupId: string | undefined;
  isEncrypted: boolean;
  /** Its line begins with an image of the marketplace that another provider sells. */
  isOfAnotherProduct: boolean;
}

type Rule = readonly [code: ErrorCode, broken: (image: ListableContent) => boolean, why: string];

/** In the order in which they are told. */
const RULES: readonly Rule[] = [
  [
    'IMG.0083',
    ({ imageType }) => imageType === 'gold' || imageType === 'public',
    'what is public is for everybody already',
  ],
  ['IMG.0046', ({ status }) => status !== 'active', 'the image is not active'],
  ['IMG.0124', ({ virtualEnvType }) => virtualEnvType === 'DataImage', 'no server starts from it'],
  ['IMG.0051', ({ backupId }) => backupId !== undefined, 'it was made from a backup'],
  ['IMG.0129', ({ isWholeServer }) => isWholeServer, 'it is an image of a whole server'],
  ['IMG.0082', ({ isEncrypted }) => isEncrypted, 'nobody else may have the key of an encrypted image'],
  ['IMG.0082', ({ virtualEnvType }) => virtualEnvType === 'IsoImage', 'an installation medium is not sold'],
  ['IMG.0043', ({ isOfAnotherProduct }) => isOfAnotherProduct, 'it was made from an image that somebody else sells'],
];

/**
 * Whether the image may be listed on the marketplace (IMG-14).
 *
 * @throws ImsError IMG.0083, 0046, 0124, 0051, 0129, 0082 or 0043, the first rule that it breaks
 */
export function checkListable(image: ListableContent): void {
  for (const [code, isBroken, why] of RULES) if (isBroken(image)) throw new ImsError(code, why);
}

/**
 * Images become public by the catalogue alone; whoever asks for it is told what stands in the way of this one (ims-api 15).
 *
 * @throws ImsError IMG.0125 data disk, IMG.0131 whole server, IMG.0082 any other
 */
export function refusePublic({ virtualEnvType, isWholeServer }: ListableContent): never {
  if (virtualEnvType === 'DataImage') throw new ImsError('IMG.0125');
  if (isWholeServer) throw new ImsError('IMG.0131');
  throw new ImsError('IMG.0082', 'public images are those of the catalogue');
}
