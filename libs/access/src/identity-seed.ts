import { randomBytes } from 'node:crypto';
import { PLATFORM_PROJECT } from '@ims/contract';
import { type Database, inTransaction } from '@ims/db';
import { type Kysely, type Transaction, sql } from 'kysely';
import { newAccessKey } from './access-keys';
import { hashPassword, verifyPassword } from './password';
import { permissionsOf } from './system-policies';
import { type RootKey, openSecret, sealSecret } from './sealed-secret';

export interface IdentitySeed {
  accountName: string;
  /** Named like the region, because clients look their project up by the region's name (iam 3). */
  projectName: string;
  userName: string;
  password: string;
  /** Left out: an existing key of the user is kept, or a fresh one is made. */
  accessKey?: { access: string; secret: string };
  /** Wanted project id (32 hex digits) for a project that does not exist yet. */
  projectId?: string;
  /** Action patterns of the user; everything when left out. */
  permissions?: string[];
}

/** Who runs the platform: owner of the public images, and of the last word on what comes to the marketplace (ims-api 2.2, IMG-14). */
export const platformSeed = (region: string, password: string): IdentitySeed => ({
  accountName: 'platform',
  projectName: region,
  projectId: PLATFORM_PROJECT,
  userName: 'operator',
  password,
  permissions: [...permissionsOf(['IMS FullAccess']), 'cts:trace:list'],
});

export interface SeededIdentity {
  accountId: string;
  projectId: string;
  userId: string;
  access: string;
  secret: string;
}

/** 32 lower-case hex digits, the documented form of account, project and user ids (iam 2.1). */
const newId = (): string => randomBytes(16).toString('hex');

// Any fixed number; it keeps two processes that start at once from making the same account twice.
const SEED_LOCK = 4_731_907;

/**
 * Makes sure that an account, its project, a user and an access key exist. Safe to call at every start and from several processes.
 * A changed password, permission list or secret takes effect; tokens issued before the change end (iam 2.1).
 */
export async function seedIdentity(
  db: Kysely<Database>,
  rootKey: RootKey,
  seed: IdentitySeed,
): Promise<SeededIdentity> {
  return inTransaction(db, async (trx) => {
    await sql`select pg_advisory_xact_lock(${SEED_LOCK})`.execute(trx);
    const accountId = await ensureAccount(trx, seed.accountName);
    const projectId = await ensureProject(trx, accountId, seed);
    const userId = await ensureUser(trx, accountId, seed);
    const key = await ensureAccessKey(trx, rootKey, userId, seed.accessKey);
    return { accountId, projectId, userId, ...key };
  });
}

async function ensureAccount(trx: Transaction<Database>, name: string): Promise<string> {
  const found = await trx.selectFrom('account').select('id').where('name', '=', name).executeTakeFirst();
  if (found !== undefined) return found.id;
  const id = newId();
  await trx.insertInto('account').values({ id, name }).execute();
  return id;
}

async function ensureProject(trx: Transaction<Database>, accountId: string, seed: IdentitySeed): Promise<string> {
  const found = await trx
    .selectFrom('project')
    .select('id')
    .where('account_id', '=', accountId)
    .where('name', '=', seed.projectName)
    .executeTakeFirst();
  if (found !== undefined) return found.id;
  const id = seed.projectId ?? newId();
  await trx.insertInto('project').values({ id, account_id: accountId, name: seed.projectName }).execute();
  return id;
}

async function ensureUser(trx: Transaction<Database>, accountId: string, seed: IdentitySeed): Promise<string> {
  const permissions = seed.permissions ?? ['*'];
  const found = await trx
    .selectFrom('iam_user')
    .select(['id', 'password_hash', 'permissions'])
    .where('account_id', '=', accountId)
    .where('name', '=', seed.userName)
    .executeTakeFirst();
  if (found === undefined) {
    const id = newId();
    const password_hash = await hashPassword(seed.password);
    await trx
      .insertInto('iam_user')
      .values({ id, account_id: accountId, name: seed.userName, password_hash, permissions })
      .execute();
    return id;
  }
  const hasPassword = await verifyPassword(seed.password, found.password_hash);
  const hasPermissions = JSON.stringify(found.permissions) === JSON.stringify(permissions);
  if (hasPassword && hasPermissions) return found.id;
  const password_hash = hasPassword ? found.password_hash : await hashPassword(seed.password);
  await trx
    .updateTable('iam_user')
    .set((row) => ({
      permissions,
      password_hash,
      authz_epoch: row('authz_epoch', '+', 1),
    }))
    .where('id', '=', found.id)
    .execute();
  return found.id;
}

async function ensureAccessKey(
  trx: Transaction<Database>,
  rootKey: RootKey,
  userId: string,
  wanted: { access: string; secret: string } | undefined,
): Promise<{ access: string; secret: string }> {
  if (wanted === undefined) {
    const found = await trx
      .selectFrom('access_key')
      .select(['access', 'secret_sealed'])
      .where('user_id', '=', userId)
      .where('status', '=', 'active')
      .where('security_token_hash', 'is', null)
      .orderBy('created_at')
      .orderBy('access')
      .executeTakeFirst();
    if (found !== undefined)
      return { access: found.access, secret: openSecret(rootKey, found.access, found.secret_sealed) };
  }
  const { access, secret } = wanted ?? newAccessKey();
  const existing = await trx
    .selectFrom('access_key')
    .select(['user_id', 'secret_sealed'])
    .where('access', '=', access)
    .executeTakeFirst();
  if (existing !== undefined && existing.user_id !== userId) {
    throw new Error(`seed access key ${access}: it belongs to another user`);
  }
  if (existing !== undefined && openSecret(rootKey, access, existing.secret_sealed) === secret)
    return { access, secret };
  const secret_sealed = sealSecret(rootKey, access, secret);
  await trx
    .insertInto('access_key')
    .values({ access, user_id: userId, secret_sealed })
    .onConflict((conflict) => conflict.column('access').doUpdateSet({ secret_sealed }))
    .execute();
  return { access, secret };
}
