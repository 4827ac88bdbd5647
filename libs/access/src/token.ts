import { createHash, randomBytes } from 'node:crypto';
import { ImsError } from '@ims/contract';
import type { Clock, Database } from '@ims/db';
import type { Kysely } from 'kysely';

// iam 2.1: a token lives 24 hours.
const LIFETIME_MS = 24 * 60 * 60 * 1000;
const TOKEN_BYTES = 32;

export interface TokenRequest {
  userId: string;
  accountId: string;
  /** `null` for an account-level token, which no image call accepts. */
  projectId: string | null;
  /** How the caller proved itself, e.g. `['password']`. */
  methods: string[];
  /** The user's epoch at this moment; a higher one later ends the token (iam 2.3). */
  authzEpoch: number;
  /** For a token got with another token: it may not outlive that one. */
  notAfter?: Date;
}

export interface TokenSession {
  userId: string;
  accountId: string;
  projectId: string | null;
  methods: string[];
  issuedAt: Date;
  expiresAt: Date;
}

const digest = (token: string): Buffer => createHash('sha256').update(token).digest();

/**
 * Issues an opaque random token. Only its SHA-256 is stored: who reads the table cannot use what is in it.
 *
 * @example const { token, expiresAt } = await issueToken(db, clock, { userId, accountId, projectId, methods: ['password'], authzEpoch });
 */
export async function issueToken(
  db: Kysely<Database>,
  clock: Clock,
  request: TokenRequest,
): Promise<TokenSession & { token: string }> {
  const token = randomBytes(TOKEN_BYTES).toString('base64url');
  const issuedAt = clock.now();
  const last = issuedAt.getTime() + LIFETIME_MS;
  const expiresAt = new Date(request.notAfter === undefined ? last : Math.min(last, request.notAfter.getTime()));
  const { userId, accountId, projectId, methods } = request;
  await db
    .insertInto('token')
    .values({
      hash: digest(token),
      user_id: userId,
      project_id: projectId,
      account_id: accountId,
      methods,
      authz_epoch: request.authzEpoch,
      issued_at: issuedAt,
      expires_at: expiresAt,
    })
    .execute();
  return { token, userId, accountId, projectId, methods, issuedAt, expiresAt };
}

/**
 * The session behind a token. Fails with APIGW.0301 (401) for a token that was never issued and APIGW.0307 (401) for one that is
 * over: expired, revoked, its user or account disabled, or the user's rights changed since (iam 2.1, 2.3).
 */
export async function validateToken(db: Kysely<Database>, clock: Clock, token: string): Promise<TokenSession> {
  const row = await db
    .selectFrom('token')
    .innerJoin('iam_user', 'iam_user.id', 'token.user_id')
    .innerJoin('account', 'account.id', 'token.account_id')
    .select([
      'token.user_id',
      'token.account_id',
      'token.project_id',
      'token.methods',
      'token.authz_epoch',
      'token.issued_at',
      'token.expires_at',
      'token.revoked_at',
      'iam_user.enabled as user_enabled',
      'iam_user.authz_epoch as user_epoch',
      'account.enabled as account_enabled',
    ])
    .where('token.hash', '=', digest(token))
    .executeTakeFirst();
  if (row === undefined) throw new ImsError('APIGW.0301', 'token decryption failed');
  const isOver =
    row.expires_at.getTime() <= clock.now().getTime() ||
    row.revoked_at !== null ||
    !row.user_enabled ||
    !row.account_enabled ||
    row.authz_epoch !== row.user_epoch;
  if (isOver) throw new ImsError('APIGW.0307');
  return {
    userId: row.user_id,
    accountId: row.account_id,
    projectId: row.project_id,
    methods: row.methods,
    issuedAt: row.issued_at,
    expiresAt: row.expires_at,
  };
}

/** Ends a token at once (iam 2.4). `false` when there is no such token or it was revoked already. */
export async function revokeToken(db: Kysely<Database>, clock: Clock, token: string): Promise<boolean> {
  const result = await db
    .updateTable('token')
    .set({ revoked_at: clock.now() })
    .where('hash', '=', digest(token))
    .where('revoked_at', 'is', null)
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}
