import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

const derive = promisify(argon2);

// OWASP password storage: argon2id with 19 MiB, two passes and one lane; about 25 ms on one core.
const MEMORY_KIB = 19_456;
const PASSES = 2;
const LANES = 1;
const SALT_BYTES = 16;
const HASH_BYTES = 32;

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64').replace(/=+$/, '');

/** Hashes a password for storage: a PHC string that carries its own parameters, so they may grow later. */
export async function hashPassword(password: string): Promise<string> {
  const nonce = randomBytes(SALT_BYTES);
  const hash = await argon2id(password, {
    nonce,
    memory: MEMORY_KIB,
    passes: PASSES,
    parallelism: LANES,
    tagLength: HASH_BYTES,
  });
  return `$argon2id$v=19$m=${MEMORY_KIB},t=${PASSES},p=${LANES}$${base64(nonce)}$${base64(hash)}`;
}

/**
 * Whether `password` is the one behind `stored`. A user without a password (`null`) costs as much time as a wrong password, so that
 * timing does not tell which users exist.
 */
export async function verifyPassword(password: string, stored: string | null): Promise<boolean> {
  const match = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/.exec(
    stored ?? '',
  );
  const [, memory, passes, parallelism, nonce, expected] = match ?? [];
  if (nonce === undefined || expected === undefined) {
    await hashPassword(password);
    return false;
  }
  const wanted = Buffer.from(expected, 'base64');
  const hash = await argon2id(password, {
    nonce: Buffer.from(nonce, 'base64'),
    memory: Number(memory),
    passes: Number(passes),
    parallelism: Number(parallelism),
    tagLength: wanted.length,
  });
  return timingSafeEqual(hash, wanted);
}

interface Argon2Parameters {
  nonce: Uint8Array;
  memory: number;
  passes: number;
  parallelism: number;
  tagLength: number;
}

function argon2id(password: string, parameters: Argon2Parameters): Promise<Buffer> {
  // Two spellings of one letter must be one password (RFC 8265).
  return derive('argon2id', { message: password.normalize('NFC'), ...parameters });
}
