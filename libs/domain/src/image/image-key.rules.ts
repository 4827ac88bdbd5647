import { type ImageAttributes, ImsError } from '@ims/contract';

/** The key that an image is kept under; `undefined` for one that is not encrypted. */
export function keyOf(attributes: ImageAttributes): string | undefined {
  const key = attributes['__system__cmkid'];
  return typeof key === 'string' && key !== '' ? key : undefined;
}

/** Whether an image is encrypted, by whatever it says of itself (ims-api 2.2). */
export const isEncrypted = (attributes: ImageAttributes): boolean =>
  keyOf(attributes) !== undefined || attributes['__system__encrypted'] === '1';

/** What an image under this key says of itself (ENC-01). */
export const encryptedBy = (keyId: string | undefined): ImageAttributes =>
  keyId === undefined ? {} : { __system__encrypted: '1', __system__cmkid: keyId };

/**
 * The key that a call wants its image to be kept under; no key where it names none. Fails with IMG.0118 for BMS images and IMG.0105 for ISO images
 * (CRE-12), which are never encrypted.
 */
export function decideKey(cmkId: string | null | undefined, virtualEnvType: string): string | undefined {
  if (cmkId === undefined || cmkId === null || cmkId === '') return undefined;
  if (virtualEnvType === 'Ironic') throw new ImsError('IMG.0118');
  if (virtualEnvType === 'IsoImage') throw new ImsError('IMG.0105', 'an ISO image cannot be encrypted');
  return cmkId;
}
