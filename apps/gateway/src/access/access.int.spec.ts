import { fixedClock, systemClock } from '@ims/db';
import { signRequest } from '@ims/access';
import { CONTROLLERS } from '../gateway';
import { errorFamilyOf } from '../http/error-family';
import { type Route, RouteTable } from '../http/route-table';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { AccessGuard } from './access.guard';

const { routes } = new RouteTable(CONTROLLERS);
const named = (wanted: (route: Route) => boolean): [string, Route][] =>
  routes.filter(wanted).map((route) => [`${route.method} ${route.path}`, route]);
const isProjectPath = ({ path }: Route): boolean => path.includes('{project_id}');

let gateway: GatewayUnderTest;
let token: string;
/** A caller whose policies allow nothing at all. */
let powerless: { token: string; projectId: string };

beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
  powerless = await gateway.anotherAccount([]);
});
afterAll(() => gateway.close());

const urlOf = ({ path }: Route, projectId: string): string =>
  path
    .replace('{project_id}', projectId)
    .replace('{job_id}', '0'.repeat(32))
    .replace('{image_id}', '00000000-0000-4000-8000-000000000000')
    .replace(/\{\w+\}/g, 'v2.1');

async function call(route: Route, projectId: string, headers: Record<string, string>) {
  const response = await gateway.app.inject({ method: route.method as 'GET', url: urlOf(route, projectId), headers });
  return { status: response.statusCode, headers: response.headers, body: response.body };
}

/** The refusal as a client of that family reads it. */
function refusalIn(route: Route, body: string): unknown {
  if (route.method === 'HEAD') return 'no body';
  switch (errorFamilyOf(route.path)) {
    case 'glance':
      return /\((\w+\.\d+)\)/.exec(body)?.[1];
    case 'identity':
      return (JSON.parse(body) as { error: { code: number } }).error.code;
    case 'keys':
    case 'audit':
    case 'backup':
    case 'extension': {
      const parsed = JSON.parse(body) as { error_code?: string; error?: { code?: string; error_code?: string } };
      return parsed.error_code ?? parsed.error?.code ?? parsed.error?.error_code;
    }
  }
}
/** The audit trail has codes of its own for these (cts-api 5). */
const IN_AUDIT: Readonly<Record<string, readonly [number, string]>> = {
  'APIGW.0301': [401, 'CTS.0002'],
  'IMG.0026': [403, 'CTS.0013'],
  'IMG.0030': [403, 'CTS.0012'],
  'IMG.0067': [403, 'CTS.0012'],
};
/** Status and code of a refusal in the family of the route. */
const expected = (route: Route, code: string, status: number): unknown[] => {
  if (route.method === 'HEAD') return [status, 'no body'];
  const family = errorFamilyOf(route.path);
  if (family === 'audit') return [...(IN_AUDIT[code] ?? [status, code])];
  return [status, family === 'identity' ? status : code];
};

describe(AccessGuard.name, () => {
  it.each(named(({ access }) => access.kind !== 'public'))(
    '%s: no credentials -> 401 in the envelope of its family',
    async (_name, route) => {
      const { status, body, headers } = await call(route, gateway.identity.projectId, {});
      expect([status, refusalIn(route, body)]).toEqual(expected(route, 'APIGW.0301', 401));
      expect(headers).toMatchObject({
        'x-request-id': expect.stringMatching(/^[0-9a-f]{32}$/),
        'x-openstack-request-id': expect.stringMatching(/^req-/),
      });
    },
  );

  it.each(named(({ access }) => access.kind !== 'public'))('%s: a token nobody issued -> 401', async (_name, route) => {
    const { status } = await call(route, gateway.identity.projectId, { 'x-auth-token': 'x'.repeat(43) });
    expect(status).toBe(401);
  });

  it.each(named(({ access }) => access.kind === 'permits'))(
    '%s: a caller without the permission -> 403 IMG.0026',
    async (_name, route) => {
      const { status, body } = await call(route, powerless.projectId, { 'x-auth-token': powerless.token });
      expect([status, refusalIn(route, body)]).toEqual(expected(route, 'IMG.0026', 403));
    },
  );

  it.each(named(isProjectPath))(
    '%s: another project in the path -> 400 IMG.0030, a malformed one -> IMG.0067',
    async (_name, route) => {
      const foreign = await call(route, powerless.projectId, { 'x-auth-token': token });
      expect([foreign.status, refusalIn(route, foreign.body)]).toEqual(expected(route, 'IMG.0030', 400));
      const malformed = await call(route, 'nope', { 'x-auth-token': token });
      expect([malformed.status, refusalIn(route, malformed.body)]).toEqual(expected(route, 'IMG.0067', 400));
    },
  );

  it.each(named(({ access }) => access.kind === 'public'))('%s: anybody', async (_name, route) => {
    const { status } = await call(route, '', {});
    expect(status).not.toBe(401);
    expect(status).not.toBe(403);
  });

  it('takes a token over a signature (iam 9)', async () => {
    const response = await gateway.app.inject({
      url: '/v2/cloudimages',
      headers: {
        'x-auth-token': token,
        authorization: 'SDK-HMAC-SHA256 Access=a, SignedHeaders=x-sdk-date, Signature=0',
      },
    });
    expect(response.statusCode).toBe(200);
  });

  it('verifies the body of a GET, which one SDK sends and signs (iam 5.1, 6.3)', async () => {
    const signed = (body: string) =>
      signRequest(
        {
          method: 'GET',
          rawPath: '/v2/cloudimages',
          rawQuery: 'limit=2',
          headers: { host: 'ims.test', 'content-type': 'application/json' },
          body,
        },
        gateway.identity,
        systemClock.now(),
      );
    const send = (headers: Record<string, string>, payload: string) =>
      gateway.app.inject({ method: 'GET', url: '/v2/cloudimages?limit=2', headers, payload });
    expect((await send(signed('{}'), '{}')).statusCode).toBe(200);
    expect((await send(signed('{}'), '[]')).statusCode).toBe(401);
  });

  it('sees the path and the query as they were sent, not as they were parsed', async () => {
    const rawPath = '/v2/cloudimages';
    const rawQuery = 'name=a%20b&__imagetype=private&name=%C3%A9';
    const headers = signRequest(
      { method: 'GET', rawPath, rawQuery, headers: { host: 'ims.test' } },
      gateway.identity,
      systemClock.now(),
    );
    expect((await gateway.app.inject({ url: `${rawPath}?${rawQuery}`, headers })).statusCode).toBe(200);
    expect((await gateway.app.inject({ url: `${rawPath}?${rawQuery}&name=c`, headers })).statusCode).toBe(401);
  });

  it('refuses a signature of another time with 401', async () => {
    // 15 minutes and one second ago: the first moment that is too far away (iam 6.1).
    const clock = fixedClock(new Date(systemClock.now().getTime() - 901_000));
    const headers = signRequest(
      { method: 'GET', rawPath: '/v2/cloudimages', headers: { host: 'ims.test' } },
      gateway.identity,
      clock.now(),
    );
    expect((await gateway.app.inject({ url: '/v2/cloudimages', headers })).statusCode).toBe(401);
  });
});
