import { gatewayUnderTest, type GatewayUnderTest, PASSWORD, REGION } from '../testing/gateway-under-test';
import { IdentityService } from './identity.service';
import { TokensService } from './tokens.service';

let gateway: GatewayUnderTest;
let token: string;

beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
});
afterAll(() => gateway.close());

const ALICE = { name: 'alice', password: PASSWORD, domain: { name: 'acme' } };
const issue = (identity: object, scope?: unknown, query = '') =>
  gateway.app.inject({
    method: 'POST',
    url: `/v3/auth/tokens${query}`,
    payload: { auth: { identity, ...(scope === undefined ? {} : { scope }) } },
  });
const byPassword = (user: object, scope?: unknown, query = '') =>
  issue({ methods: ['password'], password: { user } }, scope, query);
const about = (method: 'GET' | 'HEAD' | 'DELETE', subject: string, as = token) =>
  gateway.app.inject({ method, url: '/v3/auth/tokens', headers: { 'x-auth-token': as, 'x-subject-token': subject } });
const get = (url: string, as = token) => gateway.app.inject({ url, headers: { 'x-auth-token': as } });

interface Token {
  token: {
    project?: { id: string; name: string };
    domain?: { name: string };
    expires_at: string;
    issued_at: string;
    catalog: { type: string }[];
  };
}

describe(TokensService.name, () => {
  it('issues a project token: 201, the token in X-Subject-Token, 24 hours (iam 2.1)', async () => {
    const response = await byPassword(ALICE, { project: { name: REGION } });
    expect(response.statusCode).toBe(201);
    expect(response.headers['x-subject-token']).toMatch(/^[\w-]{40,}$/);
    const { token: issued } = response.json<Token>();
    expect(issued).toMatchObject({
      project: { id: gateway.identity.projectId, name: REGION },
      methods: ['password'],
      user: { name: 'alice' },
    });
    expect(issued).not.toHaveProperty('domain');
    expect(issued.expires_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    expect(Date.parse(issued.expires_at) - Date.parse(issued.issued_at)).toBe(24 * 3600 * 1000);
    expect(issued.catalog.map(({ type }) => type)).toEqual(expect.arrayContaining(['image', 'iam', 'identity']));
  });

  it('issues an account token without a scope, which opens no image call', async () => {
    const response = await byPassword(ALICE);
    expect(response.json<Token>().token).toMatchObject({ domain: { name: 'acme' } });
    const account = String(response.headers['x-subject-token']);
    expect((await get('/v3/projects', account)).statusCode).toBe(200);
    expect((await get('/v2/cloudimages', account)).statusCode).toBe(401);
  });

  it('leaves the catalogue out when asked to', async () => {
    expect((await byPassword(ALICE, undefined, '?nocatalog=1')).json<Token>().token.catalog).toEqual([]);
  });

  it.each([
    ['a wrong password', { ...ALICE, password: 'wrong' }],
    ['an unknown user', { ...ALICE, name: 'mallory' }],
    ['an unknown account', { ...ALICE, domain: { name: 'nowhere' } }],
  ])('answers %s with one and the same 401 (iam 2.1)', async (_what, user) => {
    const response = await byPassword(user, { project: { name: REGION } });
    expect(response.statusCode).toBe(401);
    expect(response.json()).toEqual({
      error: { code: 401, message: 'The username or password is wrong.', title: 'Unauthorized' },
    });
  });

  it('issues no token for another account’s project', async () => {
    const other = await gateway.anotherAccount();
    expect((await byPassword(ALICE, { project: { id: other.projectId } })).statusCode).toBe(401);
  });

  it.each([
    ['no method', { methods: [] }],
    ['a method that is not offered', { methods: ['totp'] }],
    ['a second factor, which would not be checked', { methods: ['password', 'totp'], password: { user: ALICE } }],
    ['no password', { methods: ['password'] }],
  ])('answers %s with 400', async (_what, identity) => {
    const response = await issue(identity);
    expect([response.statusCode, response.json<{ error: { title: string } }>().error.title]).toEqual([
      400,
      'Bad Request',
    ]);
  });

  it('re-scopes a token, and the new one ends no later than the old one', async () => {
    const old = await byPassword(ALICE);
    const response = await issue(
      { methods: ['token'], token: { id: String(old.headers['x-subject-token']) } },
      { project: { name: REGION } },
    );
    expect(response.statusCode).toBe(201);
    expect(Date.parse(response.json<Token>().token.expires_at)).toBeLessThanOrEqual(
      Date.parse(old.json<Token>().token.expires_at),
    );
    expect((await get('/v2/cloudimages', String(response.headers['x-subject-token']))).statusCode).toBe(200);
  });

  it('shows, checks and ends a token (iam 2.4)', async () => {
    const subject = String((await byPassword(ALICE, { project: { name: REGION } })).headers['x-subject-token']);
    const shown = await about('GET', subject);
    expect([shown.statusCode, shown.headers['x-subject-token']]).toEqual([200, subject]);
    expect(shown.json<Token>().token.project?.id).toBe(gateway.identity.projectId);
    expect((await about('HEAD', subject)).statusCode).toBe(200);
    expect((await about('DELETE', subject)).statusCode).toBe(204);
    expect((await get('/v2/cloudimages', subject)).statusCode).toBe(401);
    expect((await about('GET', subject)).statusCode).toBe(404);
  });

  it('neither shows nor ends a token of another account', async () => {
    const other = await gateway.anotherAccount();
    for (const method of ['GET', 'HEAD', 'DELETE'] as const)
      expect((await about(method, token, other.token)).statusCode).toBe(404);
    expect((await get('/v2/cloudimages')).statusCode).toBe(200);
  });
});

describe(IdentityService.name, () => {
  it('finds exactly one project by the region’s name, also beside others that begin alike (iam 3)', async () => {
    await gateway.parts.db
      .insertInto('project')
      .values({ id: 'e'.repeat(32), account_id: gateway.identity.accountId, name: `${REGION}_sub` })
      .execute();
    const { projects } = (await get(`/v3/projects?name=${REGION}`)).json<{ projects: { id: string }[] }>();
    expect(projects.map(({ id }) => id)).toEqual([gateway.identity.projectId]);
    expect((await get('/v3/auth/projects')).json<{ projects: unknown[] }>().projects).toHaveLength(2);
    expect((await get('/v3/projects?per_page=1&page=2')).json<{ projects: unknown[] }>().projects).toHaveLength(1);
  });

  it('lists nothing of other accounts', async () => {
    const other = await gateway.anotherAccount();
    expect((await get(`/v3/projects/${other.projectId}`)).statusCode).toBe(404);
    expect((await get(`/v3/projects?domain_id=${other.accountId}`)).json()).toMatchObject({ projects: [] });
    expect((await get('/v3/auth/domains')).json()).toMatchObject({
      domains: [{ id: gateway.identity.accountId, name: 'acme' }],
    });
  });

  it('refuses pages that are none', async () => {
    for (const query of ['page=0', 'per_page=5001', 'page=x'])
      expect((await get(`/v3/projects?${query}`)).statusCode).toBe(400);
  });

  it('names its region as public, and no other', async () => {
    expect((await get('/v3/regions')).json()).toMatchObject({ regions: [{ id: REGION, type: 'public' }] });
    expect((await get(`/v3/regions/${REGION}`)).json()).toMatchObject({ region: { id: REGION } });
    expect((await get('/v3/regions/elsewhere')).statusCode).toBe(404);
  });
});
