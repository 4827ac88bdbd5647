import { randomBytes } from 'node:crypto';
import { hashPassword, verifyPassword } from './password';
import { openSecret, parseRootKey, sealSecret } from './sealed-secret';

describe('sealed secrets', () => {
  const rootKey = randomBytes(32);

  it('opens what it sealed and never seals the same way twice', () => {
    const sealed = sealSecret(rootKey, 'AK1', 'secret');
    expect(openSecret(rootKey, 'AK1', sealed)).toBe('secret');
    expect(sealSecret(rootKey, 'AK1', 'secret').equals(sealed)).toBe(false);
    expect(sealed.includes('secret')).toBe(false);
  });

  it('opens nothing for another access key or root key', () => {
    const sealed = sealSecret(rootKey, 'AK1', 'secret');
    expect(() => openSecret(rootKey, 'AK2', sealed)).toThrow('altered');
    expect(() => openSecret(randomBytes(32), 'AK1', sealed)).toThrow('altered');
  });

  it('notices every changed byte and a cut', () => {
    const sealed = sealSecret(rootKey, 'AK1', 'secret');
    for (let at = 0; at < sealed.length; at += 1) {
      const altered = Buffer.from(sealed);
      altered.writeUInt8((altered.readUInt8(at) + 1) % 256, at);
      expect(() => openSecret(rootKey, 'AK1', altered)).toThrow('AK1');
    }
    expect(() => openSecret(rootKey, 'AK1', sealed.subarray(0, -1))).toThrow('AK1');
    expect(() => openSecret(rootKey, 'AK1', Buffer.alloc(0))).toThrow('AK1');
  });

  it('reads a root key in hex and Base64 and refuses other lengths', () => {
    expect(Buffer.from(parseRootKey(rootKey.toString('hex'))).equals(rootKey)).toBe(true);
    expect(Buffer.from(parseRootKey(rootKey.toString('base64'))).equals(rootKey)).toBe(true);
    expect(() => parseRootKey('')).toThrow(TypeError);
    expect(() => parseRootKey(randomBytes(31).toString('base64'))).toThrow(TypeError);
    expect(() => parseRootKey('0'.repeat(63))).toThrow(TypeError);
  });
});

describe('passwords', () => {
  it('verifies the password and no other', async () => {
    const stored = await hashPassword('correct horse');
    expect(stored).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    expect(await verifyPassword('correct horse', stored)).toBe(true);
    expect(await verifyPassword('correct horsE', stored)).toBe(false);
    expect(await verifyPassword('', stored)).toBe(false);
  });

  it('salts every hash', async () => {
    expect(await hashPassword('x')).not.toBe(await hashPassword('x'));
  });

  it('takes both spellings of one letter', async () => {
    expect(await verifyPassword('caf\u00e9', await hashPassword('cafe\u0301'))).toBe(true);
  });

  it('accepts nothing for a user without a password or with a damaged hash', async () => {
    expect(await verifyPassword('x', null)).toBe(false);
    expect(await verifyPassword('', '')).toBe(false);
    expect(await verifyPassword('x', '$argon2id$v=19$m=19456,t=2,p=1$$')).toBe(false);
  });
});
