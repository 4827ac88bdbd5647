import { Inject, Injectable } from '@nestjs/common';
import {
  Authenticator,
  issueToken,
  permits,
  type Principal,
  revokeToken,
  type TokenSession,
  validateToken,
} from '@ims/access';
import { ImsError, type IssueTokenRequest, type TokenDocument } from '@ims/contract';
import type { Clock, Database } from '@ims/db';
import { Kysely } from 'kysely';
import { GatewayConfig } from '../config';
import { Answer } from '../http/answer';
import { CLOCK } from '../http/injection-tokens';
import { tokenTime } from '../http/wire-time';
import { IdentityRepository } from './identity.repository';
import { catalogOf } from './identity.wire';

interface ProvenUser {
  userId: string;
  accountId: string;
  authzEpoch: number;
  methods: string[];
  /** A token got with a token may not outlive it. */
  notAfter?: Date;
}

const unauthorized = (message: string): ImsError => new ImsError('APIGW.0301', message);
const badRequest = (message: string): ImsError => new ImsError('IMG.0001', message);
// One sentence for everything that can be wrong with a subject: whoever asks learns nothing about tokens that are not theirs.
const noSuchToken = (): ImsError => new ImsError('APIGW.0201', 'The token does not exist or is over.', 404);

/** Tokens as the vendor's IAM and Keystone v3 issue them (iam 2). */
@Injectable()
export class TokensService {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly identities: IdentityRepository,
    private readonly authenticator: Authenticator,
    private readonly config: GatewayConfig,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  async issue(
    request: IssueTokenRequest,
    authToken: string | undefined,
    noCatalog: string | undefined,
  ): Promise<Answer> {
    const user = await this.#prove(request.auth.identity, authToken);
    const projectId = await this.#scope(user.accountId, request.auth.scope);
    const { token, ...session } = await issueToken(this.db, this.clock, { ...user, projectId });
    return new Answer(201, await this.#document(session, hasValue(noCatalog)), { 'X-Subject-Token': token });
  }

  async show(principal: Principal, subject: string | undefined, noCatalog: string | undefined): Promise<Answer> {
    const { token, session } = await this.#subject(principal, subject);
    return new Answer(200, await this.#document(session, hasValue(noCatalog)), { 'X-Subject-Token': token });
  }

  async check(principal: Principal, subject: string | undefined): Promise<Answer> {
    const { token } = await this.#subject(principal, subject);
    return new Answer(200, undefined, { 'X-Subject-Token': token });
  }

  async revoke(principal: Principal, subject: string | undefined): Promise<void> {
    const { token } = await this.#subject(principal, subject);
    await revokeToken(this.db, this.clock, token);
  }

  /** Another user's token may be looked at and ended only by those who may manage the account's tokens (iam 2.4). */
  async #subject(principal: Principal, token: string | undefined): Promise<{ token: string; session: TokenSession }> {
    if (!hasValue(token)) throw badRequest('X-Subject-Token is missing.');
    const session = await validateToken(this.db, this.clock, token).catch((error: unknown) => {
      if (error instanceof ImsError) throw noSuchToken();
      throw error;
    });
    const isOwn = session.userId === principal.userId;
    const mayManage = session.accountId === principal.accountId && permits(principal, 'iam:tokens:manage');
    if (!isOwn && !mayManage) throw noSuchToken();
    return { token, session };
  }

  async #prove(identity: IssueTokenRequest['auth']['identity'], authToken: string | undefined): Promise<ProvenUser> {
    const [method, ...others] = identity.methods;
    // A second factor that is asked for and not checked would be worse than none.
    if (others.length > 0) throw badRequest('Only one of the methods password and token can be used at a time.');
    switch (method) {
      case 'password':
        return this.#proveByPassword(identity.password);
      case 'token':
        return this.#proveByToken(identity.token?.id ?? authToken);
      default:
        throw badRequest('The method must be password or token.');
    }
  }

  async #proveByPassword(credentials: IssueTokenRequest['auth']['identity']['password']): Promise<ProvenUser> {
    if (credentials === undefined) throw badRequest('auth.identity.password is missing.');
    const { id, name, password, domain } = credentials.user;
    const result = await this.authenticator.checkPassword({
      userId: id,
      userName: name,
      accountId: domain?.id,
      accountName: domain?.name,
      password,
    });
    switch (result.outcome) {
      case 'accepted':
        return {
          userId: result.userId,
          accountId: result.accountId,
          authzEpoch: result.authzEpoch,
          methods: ['password'],
        };
      case 'refused':
        throw unauthorized('The username or password is wrong.');
      case 'locked':
        throw unauthorized('The user is locked after repeated failures. Try again in five minutes.');
    }
    return result satisfies never;
  }

  async #proveByToken(token: string | undefined): Promise<ProvenUser> {
    if (!hasValue(token)) throw badRequest('auth.identity.token is missing.');
    const session = await validateToken(this.db, this.clock, token);
    const user = await this.identities.user(session.accountId, session.userId);
    if (user === undefined) throw unauthorized('The user does not exist.');
    return {
      userId: session.userId,
      accountId: session.accountId,
      authzEpoch: user.authz_epoch,
      methods: [...new Set(['token', ...session.methods])],
      notAfter: session.expiresAt,
    };
  }

  /** The project the token is for; `null` for an account-level one. With both a project and a domain the project wins (iam 2.1). */
  async #scope(accountId: string, scope: IssueTokenRequest['auth']['scope']): Promise<string | null> {
    if (scope === undefined || scope === 'unscoped') return null;
    const account = await this.identities.account(accountId);
    const isOwn = (domain: { id?: string | undefined; name?: string | undefined }): boolean =>
      (domain.id === undefined || domain.id === accountId) &&
      (domain.name === undefined || domain.name === account?.name);
    if (scope.project === undefined) {
      if (scope.domain !== undefined && !isOwn(scope.domain)) throw unauthorized('The domain is not available.');
      return null;
    }
    const { id, name, domain } = scope.project;
    if (id === undefined && name === undefined) throw badRequest('scope.project needs an id or a name.');
    const project = await this.identities.project({
      accountId,
      isEnabled: true,
      ...(id === undefined ? {} : { id }),
      ...(name === undefined ? {} : { name }),
    });
    if (project === undefined || (domain !== undefined && !isOwn(domain)))
      throw unauthorized('The project is not available.');
    return project.id;
  }

  async #document(session: TokenSession, isWithoutCatalog: boolean): Promise<TokenDocument> {
    const { accountId, userId, projectId } = session;
    const [account, user, project] = await Promise.all([
      this.identities.account(accountId),
      this.identities.user(accountId, userId),
      projectId === null ? undefined : this.identities.project({ accountId, id: projectId }),
    ]);
    if (account === undefined || user === undefined) throw noSuchToken();
    const domain = { id: account.id, name: account.name };
    return {
      token: {
        methods: session.methods,
        issued_at: tokenTime(session.issuedAt),
        expires_at: tokenTime(session.expiresAt),
        user: { id: user.id, name: user.name, password_expires_at: '', domain },
        ...(project === undefined ? { domain } : { project: { id: project.id, name: project.name, domain } }),
        // The vendor's name for whoever may do everything; policies in force are not published by their patterns.
        roles: [{ id: '0', name: user.permissions.includes('*') ? 'te_admin' : 'te_member' }],
        catalog: isWithoutCatalog ? [] : catalogOf(this.config),
      },
    };
  }
}

/** `nocatalog` and header values: present and not empty. */
const hasValue = (text: string | undefined): text is string => text !== undefined && text !== '';
