import { createCipheriv, createDecipheriv, hash, hkdfSync, randomBytes } from 'node:crypto';
import canonicalize from 'canonicalize';
import type { EncryptionContext } from './keys.port';

// NIST SP 800-38D: 96-bit nonces and 128-bit tags.
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;
const KEY_ID_BYTES = 16;
// First byte of a wrapped data key (backends C4.3).
const FORM = 2;
const CIPHER = 'aes-256-gcm';

/** The key that wraps the material of users' keys: derived, so that nothing the root key seals elsewhere passes for one. */
export const materialKey = (rootKey: Uint8Array): Buffer =>
  Buffer.from(hkdfSync('sha256', rootKey, '', 'ims/kms-key-material', KEY_BYTES));

/** Nonce, ciphertext, tag. */
export function seal(key: Uint8Array, associatedData: Uint8Array, plain: Uint8Array): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, key, nonce).setAAD(associatedData);
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** `undefined` unless `seal` made it with the same key and the same associated data. */
export function unseal(key: Uint8Array, associatedData: Uint8Array, sealed: Uint8Array): Buffer | undefined {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) return undefined;
  const decipher = createDecipheriv(CIPHER, key, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES })
    .setAAD(associatedData)
    .setAuthTag(sealed.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
  } catch {
    // It says nothing more than that: another key, another context or other bytes.
    return undefined;
  }
}

const idBytes = (keyId: string): Buffer => Buffer.from(keyId.replaceAll('-', ''), 'hex');

/** SHA-256 of the context in the one form that all JSON of it has. */
const contextHash = (context: EncryptionContext): Buffer =>
  hash('sha256', Buffer.from(canonicalize(context) ?? ''), 'buffer');

/** `0x02 ‖ key id ‖ nonce ‖ ciphertext ‖ tag` (backends C4.3). */
export const wrap = (keyId: string, material: Uint8Array, context: EncryptionContext, dataKey: Uint8Array): Buffer =>
  Buffer.concat([Buffer.of(FORM), idBytes(keyId), seal(material, contextHash(context), dataKey)]);

/** `undefined` unless `wrap` made it of this key and context. */
export function unwrap(
  keyId: string,
  material: Uint8Array,
  context: EncryptionContext,
  wrapped: Uint8Array,
): Buffer | undefined {
  const head = 1 + KEY_ID_BYTES;
  if (wrapped[0] !== FORM || !idBytes(keyId).equals(wrapped.subarray(1, head))) return undefined;
  return unseal(material, contextHash(context), wrapped.subarray(head));
}
