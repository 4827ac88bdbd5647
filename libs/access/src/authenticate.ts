import { ImsError } from '@ims/contract';
import type { Clock, Database } from '@ims/db';
import type { Kysely } from 'kysely';
import { findAccessKey } from './access-keys';
import type { Caller, Principal } from './caller';
import { FailureLock } from './failure-lock';
import { verifyPassword } from './password';
import type { RootKey } from './sealed-secret';
import { validateToken } from './token';
import { DETAIL, type SignedRequest, verifySignature } from './verify-signature';

export interface AuthenticatorOptions {
  db: Kysely<Database>;
  rootKey: RootKey;
  clock: Clock;
  /** Our region: name of the default project of each account, and the only region a derived key may name beside `globe`. */
  region: string;
}

/** Services whose requests come to this gateway; a derived key names one of them (iam 7). */
const SERVICES = ['ims', 'iam'];

const header = (request: SignedRequest, name: string): string | undefined => {
  const value = request.headers[name];
  const first = Array.isArray(value) ? value[0] : value;
  return first === undefined || first === '' ? undefined : first;
};

export interface PasswordCredentials {
  userName?: string | undefined;
  userId?: string | undefined;
  accountName?: string | undefined;
  accountId?: string | undefined;
  password: string;
}

export type PasswordResult =
  | {
      outcome: 'accepted';
      userId: string;
      userName: string;
      accountId: string;
      accountName: string;
      authzEpoch: number;
    }
  /** Wrong password, unknown user, disabled user: one answer for all, so that none can be told from the others. */
  | { outcome: 'refused' }
  /** Five wrong passwords in a row (IAM.0061); over after five minutes. */
  | { outcome: 'locked' };

/**
 * Finds out who calls (iam 9). One instance per process: it keeps the counts of failures in a row.
 *
 * @example
 * const authenticator = new Authenticator({ db, rootKey, clock, region });
 * const caller = await authenticator.authenticate(request, { pathProjectId });
 * if (!permits(caller, 'ims:images:create')) throw new ImsError('IMG.0026', 'ims:images:create');
 */
export class Authenticator {
  private readonly keyLock: FailureLock;
  private readonly passwordLock: FailureLock;

  constructor(private readonly options: AuthenticatorOptions) {
    this.keyLock = new FailureLock(options.clock);
    this.passwordLock = new FailureLock(options.clock);
  }

  /**
   * For calls inside a project: credentials, then the project (the token's; or `X-Project-Id`; or the account's project of this
   * region), which must be the account's own and enabled and equal the one in the path.
   *
   * Fails with APIGW.0301 or APIGW.0307 (401) for the credentials, APIGW.0310 (403) for a project that is not available,
   * IMG.0030 for a path of another project.
   */
  async authenticate(
    request: SignedRequest,
    { pathProjectId }: { pathProjectId?: string | undefined } = {},
  ): Promise<Caller> {
    const { userId, how, tokenProjectId } = await this.identify(request);
    const { principal, projectId } = await this.load(userId, how, tokenProjectId ?? header(request, 'x-project-id'));
    // An account-level token names no project, and a header must not widen what the token was issued for (iam 2.1: project scope needed).
    if (tokenProjectId === null) throw new ImsError('IMG.0087', 'the token has no project scope', 401);
    // One answer for absent, foreign and disabled: a caller learns nothing of other accounts.
    if (projectId === null) throw new ImsError('APIGW.0310');
    if (pathProjectId !== undefined && pathProjectId !== projectId) throw new ImsError('IMG.0030');
    return { ...principal, projectId };
  }

  /** For account-level calls (projects, regions, own tokens): credentials only. Fails as `authenticate` does for them. */
  async authenticateAccount(request: SignedRequest): Promise<Principal> {
    const { userId, how } = await this.identify(request);
    return (await this.load(userId, how, undefined)).principal;
  }

  /** Checks a user's name (or id) and password; for the call that issues tokens (iam 2.1). */
  async checkPassword(credentials: PasswordCredentials): Promise<PasswordResult> {
    const { userName, userId, accountName, accountId, password } = credentials;
    let query = this.options.db
      .selectFrom('iam_user')
      .innerJoin('account', 'account.id', 'iam_user.account_id')
      .select([
        'iam_user.id as userId',
        'iam_user.name as userName',
        'iam_user.password_hash as hash',
        'iam_user.enabled as userEnabled',
        'iam_user.authz_epoch as authzEpoch',
        'account.id as accountId',
        'account.name as accountName',
        'account.enabled as accountEnabled',
      ]);
    if (userId !== undefined) query = query.where('iam_user.id', '=', userId);
    if (userName !== undefined) query = query.where('iam_user.name', '=', userName);
    if (accountName !== undefined) query = query.where('account.name', '=', accountName);
    if (accountId !== undefined) query = query.where('account.id', '=', accountId);
    // A name alone may belong to users of several accounts; without its account it names nobody.
    const isNamed =
      userId !== undefined || (userName !== undefined && (accountName !== undefined || accountId !== undefined));
    const row = isNamed ? await query.executeTakeFirst() : undefined;
    if (row !== undefined && this.passwordLock.isLocked(row.userId)) return { outcome: 'locked' };
    const isRight = await verifyPassword(password, row?.hash ?? null);
    if (row === undefined) return { outcome: 'refused' };
    // Asked again: guesses that came at once all passed the first question while none of them was counted yet.
    if (this.passwordLock.isLocked(row.userId)) return { outcome: 'locked' };
    if (!isRight) {
      this.passwordLock.recordFailure(row.userId);
      return { outcome: 'refused' };
    }
    this.passwordLock.recordSuccess(row.userId);
    if (!row.userEnabled || !row.accountEnabled) return { outcome: 'refused' };
    const { hash: _hash, userEnabled: _userEnabled, accountEnabled: _accountEnabled, ...user } = row;
    return { outcome: 'accepted', ...user };
  }

  private async identify(request: SignedRequest): Promise<{
    userId: string;
    how: Pick<Principal, 'method' | 'accessKeyId'>;
    /** `undefined` where the credentials are no token; `null` for a token of no project. */
    tokenProjectId: string | null | undefined;
  }> {
    const { db, clock, rootKey, region } = this.options;
    const token = header(request, 'x-auth-token');
    if (token !== undefined) {
      const session = await validateToken(db, clock, token);
      return { userId: session.userId, how: { method: 'token' }, tokenProjectId: session.projectId };
    }
    const authorization = header(request, 'authorization');
    if (authorization === undefined) throw new ImsError('APIGW.0301', DETAIL.missing);
    const key = await verifySignature(request, (access) => findAccessKey(db, rootKey, access), {
      clock,
      lock: this.keyLock,
      scopes: { regions: [region, 'globe'], services: SERVICES },
    });
    return { userId: key.userId, how: { method: 'signature', accessKeyId: key.access }, tokenProjectId: undefined };
  }

  /** The user, and the id of the wanted project (the account's project of this region when none is named) if it is the account's and enabled: one look. */
  private async load(
    userId: string,
    how: Pick<Principal, 'method' | 'accessKeyId'>,
    wantedId: string | undefined,
  ): Promise<{ principal: Principal; projectId: string | null }> {
    const user = await this.options.db
      .selectFrom('iam_user')
      .innerJoin('account', 'account.id', 'iam_user.account_id')
      .leftJoin('project', (join) =>
        join
          .onRef('project.account_id', '=', 'account.id')
          .on('project.enabled', '=', true)
          .on(wantedId === undefined ? 'project.name' : 'project.id', '=', wantedId ?? this.options.region),
      )
      .select([
        'iam_user.id',
        'iam_user.name',
        'iam_user.account_id',
        'iam_user.permissions',
        'account.name as account_name',
        'project.id as project_id',
      ])
      .where('iam_user.id', '=', userId)
      .where('iam_user.enabled', '=', true)
      .where('account.enabled', '=', true)
      .executeTakeFirst();
    if (user === undefined) throw new ImsError('APIGW.0301', 'the user or its account is disabled');
    const { id, name, permissions, account_id, account_name, project_id } = user;
    return {
      principal: { accountId: account_id, accountName: account_name, userId: id, userName: name, permissions, ...how },
      projectId: project_id,
    };
  }
}
