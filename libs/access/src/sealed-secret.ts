import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

const VERSION = 1;
// NIST SP 800-38D: 96-bit nonces and 128-bit tags.
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;

/** The root key that seals secrets at rest. Lives in memory only; its text comes from configuration (IMS_ROOT_KEY). */
export type RootKey = Uint8Array;

/** Parses 32 bytes written as 64 hex digits or as Base64; fails with `TypeError` that does not repeat the text. */
export function parseRootKey(text: string): RootKey {
  const bytes = /^[0-9a-fA-F]{64}$/.test(text) ? Buffer.from(text, 'hex') : Buffer.from(text, 'base64');
  if (bytes.length !== KEY_BYTES) throw new TypeError('root key: must be 32 bytes as 64 hex digits or Base64');
  return bytes;
}

// A key of its own for this use: the root key seals other things too, and no ciphertext of one may pass for another.
const sealingKey = (rootKey: RootKey): Uint8Array =>
  new Uint8Array(hkdfSync('sha256', rootKey, '', 'ims/access-key-secret', KEY_BYTES));

/** Seals an access key's secret: version, nonce, ciphertext, tag. The access key is bound to it, so rows cannot be exchanged (iam 6.5). */
export function sealSecret(rootKey: RootKey, access: string, secret: string): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', sealingKey(rootKey), nonce).setAAD(Buffer.from(access));
  return Buffer.concat([Buffer.of(VERSION), nonce, cipher.update(secret, 'utf8'), cipher.final(), cipher.getAuthTag()]);
}

/** Opens what `sealSecret` made; fails when the root key, the access key or a byte of it is another. */
export function openSecret(rootKey: RootKey, access: string, sealed: Uint8Array): string {
  if (sealed[0] !== VERSION || sealed.length < 1 + NONCE_BYTES + TAG_BYTES) {
    throw new Error(`open the secret of ${access}: not a sealed secret of this version`);
  }
  const nonce = sealed.subarray(1, 1 + NONCE_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', sealingKey(rootKey), nonce, { authTagLength: TAG_BYTES })
    .setAAD(Buffer.from(access))
    .setAuthTag(sealed.subarray(-TAG_BYTES));
  try {
    const plain = decipher.update(sealed.subarray(1 + NONCE_BYTES, -TAG_BYTES));
    return Buffer.concat([plain, decipher.final()]).toString('utf8');
  } catch (error) {
    throw new Error(`open the secret of ${access}: the root key is not the one it was sealed with, or it was altered`, {
      cause: error,
    });
  }
}
