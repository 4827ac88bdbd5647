import { FailureLock, verifySignature } from '@ims/access';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { z } from 'zod';
import { readConfig } from './config';
import { EXIT } from './exit-codes';
import { GatewayClient } from './gateway-client';

const KEY = { access: 'AK0123456789', secret: 'wJalrXUtnFEMI' };
const clock = { now: () => new Date() };

/** Answers as the gateway does what a client has to tell apart; who calls is checked by the gateway's own verifier. */
const server: Server = createServer((request, response) => {
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part));
  request.on('end', () => {
    const [rawPath = '', rawQuery = ''] = (request.url ?? '').split('?');
    const body = Buffer.concat(parts);
    const answer = (status: number, document: unknown, headers: Record<string, string> = {}): void => {
      response.writeHead(status, { 'x-request-id': 'req-17', ...headers });
      response.end(typeof document === 'string' ? document : JSON.stringify(document));
    };
    if (rawPath === '/v3/auth/tokens') return answer(201, {}, { 'x-subject-token': `token for ${body.toString()}` });
    if (rawPath === '/proxy') return answer(502, '<html>Bad Gateway</html>');
    if (rawPath === '/gone') return answer(404, { error: { code: 'IMG.0023', message: 'there is no such job' } });
    if (rawPath === '/ended') return answer(409, { error: { code: 'IMG.0105', message: 'ended' } });
    if (request.headers['x-auth-token'] !== undefined) return answer(200, { by: request.headers['x-auth-token'] });
    verifySignature(
      { method: request.method ?? '', rawPath, rawQuery, headers: request.headers, body },
      (access) =>
        Promise.resolve(
          access === KEY.access
            ? { ...KEY, status: 'active' as const, securityTokenHash: null, expiresAt: null }
            : undefined,
        ),
      { clock, lock: new FailureLock(clock), scopes: { regions: [], services: [] } },
    ).then(
      (key) => answer(200, { by: key.access, project: request.headers['x-project-id'], body: body.toString() }),
      (error: unknown) => answer(401, { error_code: 'APIGW.0301', error_msg: String(error) }),
    );
  });
});
let endpoint: string;

beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  endpoint = `http://127.0.0.1:${typeof address === 'object' ? String(address?.port) : ''}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const answer = z.object({ by: z.string(), project: z.string().optional(), body: z.string().optional() });
const client = (signer = KEY) => new GatewayClient(endpoint, 'p1', { kind: 'key', signer });
const connect = (env: Record<string, string>) => GatewayClient.connect({}, readConfig(env));

describe(GatewayClient.name, () => {
  it('signs method, path, query and body so that the verifier of the service takes them', async () => {
    const call = { body: { name: 'ä b' }, query: { marker: 'a b+c/d', limit: 2, status: undefined } };
    expect(await client().json(answer, 'POST', '/v1/p1/jobs%20x', call)).toEqual({
      by: KEY.access,
      project: 'p1',
      body: '{"name":"ä b"}',
    });
  });

  it('takes what `ims status -o env` prints: a key before a password, and the endpoint of either name', async () => {
    const password = { OS_USER_DOMAIN_NAME: 'acme', OS_USERNAME: 'alice', OS_PASSWORD: 'pass', OS_PROJECT_ID: 'p1' };
    const byKey = await connect({
      ...password,
      IMS_ENDPOINT: endpoint,
      HUAWEICLOUD_SDK_AK: KEY.access,
      HUAWEICLOUD_SDK_SK: KEY.secret,
    });
    expect((await byKey.json(answer, 'GET', '/v1/jobs')).by).toBe(KEY.access);
    const byPassword = await connect({ ...password, OS_AUTH_URL: `${endpoint}/v3` });
    expect((await byPassword.json(answer, 'GET', '/v1/jobs')).by).toMatch(/alice.*pass.*acme.*"p1"/);
  });

  it('says which service is missing when there is none', async () => {
    await expect(connect({ IMS_DATA_DIR: '/nowhere', IMS_ENDPOINT: endpoint })).rejects.toMatchObject({
      message: expect.stringMatching(/no service runs in \/nowhere/),
      exitCode: EXIT.unreachable,
    });
  });

  it.each([
    ['/gone', 404, 'IMG.0023', EXIT.notFound, /GET \/gone answered 404 IMG.0023: there is no such job/],
    ['/ended', 409, 'IMG.0105', EXIT.conflict, /ended/],
    ['/proxy', 502, undefined, EXIT.failed, /502: <html>/],
  ] as const)(
    'tells a refusal of %s by its code, its request and its exit code',
    async (path, status, code, exitCode, said) => {
      await expect(client().call('GET', path)).rejects.toMatchObject({
        status,
        errorCode: code,
        exitCode,
        message: expect.stringMatching(said),
        remedy: expect.stringMatching(/req-17/),
      });
    },
  );

  it('tells a wrong key from a service that cannot be reached', async () => {
    const wrong = client({ ...KEY, secret: 'another' });
    await expect(wrong.call('GET', '/v1/jobs')).rejects.toMatchObject({ status: 401, exitCode: EXIT.auth });
    // Port 9 (discard) is open nowhere.
    const nobody = new GatewayClient('http://127.0.0.1:9', 'p1', { kind: 'key', signer: KEY });
    await expect(nobody.call('GET', '/')).rejects.toMatchObject({ status: 0, exitCode: EXIT.unreachable });
  });
});
