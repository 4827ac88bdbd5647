import { randomBytes } from 'node:crypto';
import { fixedClock } from '@ims/db';
import { type TestDatabase, testDatabase } from '@ims/testing';
import { Authenticator } from './authenticate';
import { seedIdentity, type SeededIdentity } from './identity-seed';
import { signRequest } from './sign-request';
import { issueToken, revokeToken, validateToken } from './token';
import type { SignedRequest } from './verify-signature';

const NOW = new Date('2026-11-24T12:00:00Z');
const REGION = 'region-1';
const DAY_MS = 24 * 60 * 60 * 1000;

describe(Authenticator.name, () => {
  const rootKey = randomBytes(32);
  const clock = fixedClock(NOW);
  let database: TestDatabase;
  let alice: SeededIdentity;
  let mallory: SeededIdentity;
  let authenticator: Authenticator;

  const seedAlice = { accountName: 'acme', projectName: REGION, userName: 'alice', password: 'correct horse' };
  beforeAll(async () => {
    database = await testDatabase();
    alice = await seedIdentity(database.db, rootKey, seedAlice);
    mallory = await seedIdentity(database.db, rootKey, { ...seedAlice, accountName: 'other', userName: 'mallory' });
  });
  afterAll(() => database.drop());
  beforeEach(() => {
    clock.set(NOW);
    authenticator = new Authenticator({ db: database.db, rootKey, clock, region: REGION });
  });

  const request = (headers: Record<string, string>): SignedRequest => ({
    method: 'GET',
    rawPath: '/v2/cloudimages',
    rawQuery: '',
    headers,
    body: Buffer.alloc(0),
  });
  const signedBy = (who: { access: string; secret: string }, headers: Record<string, string> = {}): SignedRequest =>
    request(
      signRequest(
        { method: 'GET', rawPath: '/v2/cloudimages', headers: { host: 'ims', ...headers } },
        who,
        clock.now(),
      ),
    );
  const epochOf = async (userId: string) => {
    const user = await database.db
      .selectFrom('iam_user')
      .select('authz_epoch')
      .where('id', '=', userId)
      .executeTakeFirstOrThrow();
    return user.authz_epoch;
  };
  const tokenOf = async (who: SeededIdentity, projectId: string | null = who.projectId) =>
    issueToken(database.db, clock, {
      userId: who.userId,
      accountId: who.accountId,
      projectId,
      methods: ['password'],
      authzEpoch: await epochOf(who.userId),
    });
  const setUser = (userId: string, enabled: boolean) =>
    database.db.updateTable('iam_user').set({ enabled }).where('id', '=', userId).execute();

  it('knows the caller of a signed request', async () => {
    expect(await authenticator.authenticate(signedBy(alice))).toEqual({
      accountId: alice.accountId,
      accountName: 'acme',
      userId: alice.userId,
      userName: 'alice',
      projectId: alice.projectId,
      accessKeyId: alice.access,
      method: 'signature',
      permissions: ['*'],
    });
  });

  it('knows the caller of a token', async () => {
    const { token } = await tokenOf(alice);
    expect(await authenticator.authenticate(request({ 'x-auth-token': token }))).toEqual({
      accountId: alice.accountId,
      accountName: 'acme',
      userId: alice.userId,
      userName: 'alice',
      projectId: alice.projectId,
      method: 'token',
      permissions: ['*'],
    });
  });

  it('looks at the token alone when both are sent', async () => {
    const both = { ...signedBy(alice).headers, 'x-auth-token': 'wrong' };
    await expect(authenticator.authenticate({ ...signedBy(alice), headers: both })).rejects.toMatchObject({
      code: 'APIGW.0301',
      message: expect.stringContaining('token'),
    });
  });

  it('refuses a request without credentials', async () => {
    await expect(authenticator.authenticate(request({}))).rejects.toMatchObject({
      code: 'APIGW.0301',
      status: 401,
      message: 'Incorrect IAM authentication information: IAM credentials missing',
    });
    await expect(authenticator.authenticate(request({ 'x-auth-token': '' }))).rejects.toMatchObject({
      code: 'APIGW.0301',
    });
  });

  it("takes the project of X-Project-Id when it is the account's own", async () => {
    const second = await seedIdentity(database.db, rootKey, { ...seedAlice, projectName: `${REGION}_second` });
    const caller = await authenticator.authenticate(signedBy(alice, { 'x-project-id': second.projectId }));
    expect(caller.projectId).toBe(second.projectId);
  });

  it.each(['foreign', 'unknown'])('refuses a %s project', async (which) => {
    const id = which === 'foreign' ? mallory.projectId : '0'.repeat(32);
    await expect(authenticator.authenticate(signedBy(alice, { 'x-project-id': id }))).rejects.toMatchObject({
      code: 'APIGW.0310',
      status: 403,
    });
  });

  it('refuses a disabled project', async () => {
    const set = (enabled: boolean) =>
      database.db.updateTable('project').set({ enabled }).where('id', '=', alice.projectId).execute();
    await set(false);
    await expect(authenticator.authenticate(signedBy(alice))).rejects.toMatchObject({ code: 'APIGW.0310' });
    const { token } = await tokenOf(alice);
    await expect(authenticator.authenticate(request({ 'x-auth-token': token }))).rejects.toMatchObject({
      code: 'APIGW.0310',
    });
    await set(true);
    await expect(authenticator.authenticate(signedBy(alice))).resolves.toBeDefined();
  });

  it("refuses a path of another project than the credentials' (IMG.0030, ACC-05)", async () => {
    const { token } = await tokenOf(alice);
    const wrong = { pathProjectId: mallory.projectId };
    await expect(authenticator.authenticate(request({ 'x-auth-token': token }), wrong)).rejects.toMatchObject({
      code: 'IMG.0030',
    });
    await expect(authenticator.authenticate(signedBy(alice), wrong)).rejects.toMatchObject({ code: 'IMG.0030' });
    await expect(
      authenticator.authenticate(signedBy(alice), { pathProjectId: alice.projectId }),
    ).resolves.toBeDefined();
  });

  it('refuses an account-level token for project calls, whatever X-Project-Id says, and takes it for account calls', async () => {
    const { token } = await tokenOf(alice, null);
    const headers = { 'x-auth-token': token, 'x-project-id': alice.projectId };
    await expect(authenticator.authenticate(request(headers))).rejects.toMatchObject({ code: 'IMG.0087', status: 401 });
    expect((await authenticator.authenticateAccount(request(headers))).userId).toBe(alice.userId);
  });

  it('does not let X-Project-Id change the project of a token', async () => {
    const second = await seedIdentity(database.db, rootKey, { ...seedAlice, projectName: `${REGION}_second` });
    const { token } = await tokenOf(alice);
    const caller = await authenticator.authenticate(
      request({ 'x-auth-token': token, 'x-project-id': second.projectId }),
    );
    expect(caller.projectId).toBe(alice.projectId);
  });

  it('ends access of a disabled user at once, by token and by signature', async () => {
    const { token } = await tokenOf(alice);
    await setUser(alice.userId, false);
    await expect(authenticator.authenticate(request({ 'x-auth-token': token }))).rejects.toMatchObject({
      code: 'APIGW.0307',
    });
    await expect(authenticator.authenticate(signedBy(alice))).rejects.toMatchObject({
      code: 'APIGW.0301',
      status: 401,
    });
    await setUser(alice.userId, true);
    await expect(authenticator.authenticate(signedBy(alice))).resolves.toBeDefined();
  });

  it('ends access of a key that was switched off at once', async () => {
    const set = (status: 'active' | 'inactive') =>
      database.db.updateTable('access_key').set({ status }).where('access', '=', alice.access).execute();
    await set('inactive');
    await expect(authenticator.authenticate(signedBy(alice))).rejects.toMatchObject({ code: 'APIGW.0301' });
    await set('active');
    await expect(authenticator.authenticate(signedBy(alice))).resolves.toBeDefined();
  });

  it.each([
    ['a token that was never issued', 'A'.repeat(43), 'APIGW.0301'],
    ['half a megabyte', 'A'.repeat(524_288), 'APIGW.0301'],
    ['SQL', "' or true --", 'APIGW.0301'],
  ])('refuses %s for a token', async (_what, token, code) => {
    await expect(authenticator.authenticate(request({ 'x-auth-token': token }))).rejects.toMatchObject({
      code,
      status: 401,
    });
  });

  describe('tokens', () => {
    it('stores no token, only its digest', async () => {
      const { token } = await tokenOf(alice);
      const rows = await database.db.selectFrom('token').selectAll().execute();
      expect(rows.length).toBeGreaterThan(0);
      expect(JSON.stringify(rows)).not.toContain(token);
      expect(rows.some((row) => row.hash.includes(Buffer.from(token)))).toBe(false);
    });

    it('lives for 24 hours to the millisecond', async () => {
      const { token, expiresAt } = await tokenOf(alice);
      expect(expiresAt.getTime() - NOW.getTime()).toBe(DAY_MS);
      clock.set(new Date(NOW.getTime() + DAY_MS - 1));
      await expect(validateToken(database.db, clock, token)).resolves.toMatchObject({
        userId: alice.userId,
        methods: ['password'],
      });
      clock.set(new Date(NOW.getTime() + DAY_MS));
      await expect(validateToken(database.db, clock, token)).rejects.toMatchObject({ code: 'APIGW.0307', status: 401 });
    });

    it('does not outlive the token it was got with', async () => {
      const notAfter = new Date(NOW.getTime() + 1000);
      const token = await issueToken(database.db, clock, {
        userId: alice.userId,
        accountId: alice.accountId,
        projectId: alice.projectId,
        methods: ['token'],
        authzEpoch: await epochOf(alice.userId),
        notAfter,
      });
      expect(token.expiresAt).toEqual(notAfter);
    });

    it('can be revoked, once', async () => {
      const { token } = await tokenOf(alice);
      expect(await revokeToken(database.db, clock, token)).toBe(true);
      await expect(validateToken(database.db, clock, token)).rejects.toMatchObject({ code: 'APIGW.0307' });
      expect(await revokeToken(database.db, clock, token)).toBe(false);
      expect(await revokeToken(database.db, clock, 'no such token')).toBe(false);
    });

    it("ends when the user's password or permissions change, and only then", async () => {
      const { token } = await tokenOf(alice);
      await seedIdentity(database.db, rootKey, seedAlice);
      await expect(validateToken(database.db, clock, token)).resolves.toBeDefined();
      await seedIdentity(database.db, rootKey, { ...seedAlice, password: 'new password' });
      await expect(validateToken(database.db, clock, token)).rejects.toMatchObject({ code: 'APIGW.0307' });
      await seedIdentity(database.db, rootKey, seedAlice);
      const next = await tokenOf(alice);
      await seedIdentity(database.db, rootKey, { ...seedAlice, permissions: ['ims:images:get'] });
      await expect(validateToken(database.db, clock, next.token)).rejects.toMatchObject({ code: 'APIGW.0307' });
      await seedIdentity(database.db, rootKey, seedAlice);
    });
  });

  describe('passwords', () => {
    const named = { userName: 'alice', accountName: 'acme' };

    it('accepts the right password by name or by id', async () => {
      const accepted = {
        outcome: 'accepted',
        userId: alice.userId,
        accountId: alice.accountId,
        userName: 'alice',
        accountName: 'acme',
      };
      expect(await authenticator.checkPassword({ ...named, password: seedAlice.password })).toMatchObject(accepted);
      expect(await authenticator.checkPassword({ userId: alice.userId, password: seedAlice.password })).toMatchObject(
        accepted,
      );
    });

    it.each([
      ['a wrong password', { ...named, password: 'wrong' }],
      ['an unknown user', { userName: 'bob', accountName: 'acme', password: seedAlice.password }],
      ['another account', { userName: 'alice', accountName: 'other', password: seedAlice.password }],
      ['a name without its account', { userName: 'alice', password: seedAlice.password }],
      ['no name at all', { password: seedAlice.password }],
    ])('refuses %s with the same answer', async (_what, credentials) => {
      expect(await authenticator.checkPassword(credentials)).toEqual({ outcome: 'refused' });
    });

    it('refuses a disabled user', async () => {
      await setUser(alice.userId, false);
      expect(await authenticator.checkPassword({ ...named, password: seedAlice.password })).toEqual({
        outcome: 'refused',
      });
      await setUser(alice.userId, true);
    });

    it('locks a user for five minutes after five wrong passwords in a row', async () => {
      for (let attempt = 1; attempt <= 5; attempt += 1) {
        expect(await authenticator.checkPassword({ ...named, password: 'wrong' })).toEqual({ outcome: 'refused' });
      }
      expect(await authenticator.checkPassword({ ...named, password: seedAlice.password })).toEqual({
        outcome: 'locked',
      });
      clock.set(new Date(NOW.getTime() + 5 * 60 * 1000));
      expect(await authenticator.checkPassword({ ...named, password: seedAlice.password })).toMatchObject({
        outcome: 'accepted',
      });
    });

    it('answers five of many guesses that come at once, and none of the others though it be right', async () => {
      const guesses = Array.from({ length: 20 }, () => authenticator.checkPassword({ ...named, password: 'wrong' }));
      const outcomes = (await Promise.all(guesses)).map(({ outcome }) => outcome);
      expect(outcomes.filter((outcome) => outcome === 'refused')).toHaveLength(5);
      expect(outcomes.filter((outcome) => outcome === 'locked')).toHaveLength(15);
    });

    it('accepts a user who logs in many times at once', async () => {
      const logins = Array.from({ length: 12 }, () =>
        authenticator.checkPassword({ ...named, password: seedAlice.password }),
      );
      for (const login of await Promise.all(logins)) expect(login.outcome).toBe('accepted');
    });
  });

  describe(seedIdentity.name, () => {
    it('gives the same identity at every start and in parallel', async () => {
      const seeds = await Promise.all([1, 2, 3].map(() => seedIdentity(database.db, rootKey, seedAlice)));
      expect(seeds).toEqual([alice, alice, alice]);
    });

    it('makes keys in the documented form', () => {
      expect(alice.access).toMatch(/^[A-Z0-9]{20}$/);
      expect(alice.secret).toMatch(/^[A-Za-z0-9]{40}$/);
      expect(alice.projectId).toMatch(/^[0-9a-f]{32}$/);
    });

    it('takes a given key and its new secret', async () => {
      const accessKey = { access: 'GIVENKEY000000000001', secret: 'first' };
      expect(await seedIdentity(database.db, rootKey, { ...seedAlice, accessKey })).toMatchObject(accessKey);
      await expect(authenticator.authenticate(signedBy(accessKey))).resolves.toBeDefined();
      const changed = { ...accessKey, secret: 'second' };
      await seedIdentity(database.db, rootKey, { ...seedAlice, accessKey: changed });
      await expect(authenticator.authenticate(signedBy(changed))).resolves.toBeDefined();
      await expect(authenticator.authenticate(signedBy(accessKey))).rejects.toMatchObject({ code: 'APIGW.0301' });
    });

    it("does not give one user's key to another", async () => {
      const accessKey = { access: alice.access, secret: 'stolen' };
      await expect(
        seedIdentity(database.db, rootKey, { ...seedAlice, accountName: 'other', userName: 'mallory', accessKey }),
      ).rejects.toThrow('belongs to another user');
    });

    it('stores no secret in clear', async () => {
      const rows = await database.db.selectFrom('access_key').selectAll().execute();
      expect(rows.some((row) => row.secret_sealed.includes(Buffer.from(alice.secret)))).toBe(false);
    });
  });
});
