import { randomInt } from 'node:crypto';
import type { Database } from '@ims/db';
import type { Kysely } from 'kysely';
import { type RootKey, openSecret } from './sealed-secret';
import type { KeyRecord } from './verify-signature';

export interface AccessKey extends KeyRecord {
  userId: string;
}

const UPPER = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';
const MIXED = `${UPPER}abcdefghijklmnopqrstuvwxyz`;

const pick = (alphabet: string, length: number): string =>
  Array.from({ length }, () => alphabet.charAt(randomInt(alphabet.length))).join('');

/** A fresh pair in the documented form: 20 of A-Z0-9 and 40 of A-Za-z0-9, about 238 bits (iam 4.1). */
export const newAccessKey = (): { access: string; secret: string } => ({
  access: pick(UPPER, 20),
  secret: pick(MIXED, 40),
});

/**
 * An access key with its opened secret; `undefined` when there is none. Read from the database every time, so that switching a key
 * off takes effect with the next request.
 */
export async function findAccessKey(
  db: Kysely<Database>,
  rootKey: RootKey,
  access: string,
): Promise<AccessKey | undefined> {
  const row = await db.selectFrom('access_key').selectAll().where('access', '=', access).executeTakeFirst();
  if (row === undefined) return undefined;
  return {
    access: row.access,
    userId: row.user_id,
    secret: openSecret(rootKey, row.access, row.secret_sealed),
    status: row.status,
    securityTokenHash: row.security_token_hash,
    expiresAt: row.expires_at,
  };
}
