import { connect as connectSocket, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { signRequest } from '@ims/access';
import { systemClock } from '@ims/db';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';

let gateway: GatewayUnderTest;
let token: string;
let port: number;

beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
  await gateway.app.listen({ host: '127.0.0.1', port: 0 });
  port = (gateway.app.getHttpServer().address() as AddressInfo).port;
});
afterAll(() => gateway.close());

const post = (payload: string | Buffer, contentType = 'application/json', url = '/v2/cloudimages/action') =>
  gateway.app.inject({ method: 'POST', url, headers: { 'x-auth-token': token, 'content-type': contentType }, payload });

/** Sends bytes that are no request of a polite client and gives back what comes. */
async function send(bytes: string): Promise<string> {
  const socket = connectSocket(port, '127.0.0.1');
  const answer: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => answer.push(chunk));
  // The server may cut the connection while we still write.
  socket.on('error', () => undefined);
  socket.write(bytes);
  await once(socket, 'close');
  return Buffer.concat(answer).toString('latin1');
}

const LONG = 'x'.repeat(100_000);

describe('hostile input', () => {
  it.each([
    ['malformed JSON', '{"name":', 'IMG.0001'],
    ['no body', '', 'IMG.0007'],
    ['a number as body', '1', 'IMG.0001'],
    ['null', 'null', 'IMG.0001'],
    ['a hundred thousand levels', `{"name":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, 'IMG.0001'],
    ['a prototype', '{"name":"a","__proto__":{"x":1}}', 'IMG.0001'],
    ['a NUL in a name', '{"name":"a\\u0000","image_url":"images:o","min_disk":10}', 'IMG.0001'],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]), 'IMG.0001'],
    ['a disk beyond every number', '{"name":"a","image_url":"images:o","min_disk":1e400}', 'IMG.0055'],
    ['a disk beyond 32 bits', '{"name":"a","image_url":"images:o","min_disk":99999999999}', 'IMG.0055'],
    ['an unknown type', '{"name":"a","image_url":"images:o","min_disk":10,"type":"Floppy"}', 'IMG.0024'],
    ['an unknown architecture', '{"name":"a","image_url":"images:o","min_disk":10,"architecture":"mips"}', 'IMG.0212'],
    ['a name of 100 kB', `{"name":"${LONG}","image_url":"images:o","min_disk":10}`, 'IMG.0002'],
    [
      'a system of 100 kB',
      `{"name":"a","image_url":"images:o","min_disk":10,"os_version":"CentOS 7.6 64bit","os_type":"${LONG}"}`,
      'IMG.0001',
    ],
    [
      'a path out of the bucket',
      '{"name":"a","image_url":"images:../../etc/passwd","min_disk":10}',
      expect.stringMatching(/^IMG\.\d{4}$/),
    ],
    ['a form instead of JSON', 'name=a&image_url=b', 'IMG.0001'],
  ])('%s -> 400 with its code', async (_what, body, code) => {
    const response = await post(body);
    expect([response.statusCode, response.json<{ error: { code: string } }>().error.code]).toEqual([400, code]);
  });

  it('refuses more than 12 MB with 413', async () => {
    const response = await post(`{"name":"${'x'.repeat(12 * 1024 * 1024)}"}`);
    expect([response.statusCode, response.json<{ error_code: string }>().error_code]).toEqual([413, 'APIGW.0201']);
  });

  it('asks for credentials before it looks at the body', async () => {
    const response = await gateway.app.inject({ method: 'POST', url: '/v2/cloudimages/action', payload: '{"name":' });
    expect(response.statusCode).toBe(401);
  });

  it.each([
    ['/v2/images/%', 400],
    ['/v2/images/%E0%A4%A', 400],
    [`/v2/images/${'y'.repeat(5000)}`, 414],
    ['/v2/cloudimages?name=%', 200],
    ['/v2/cloudimages?name=%ff', 200],
    [`/v2/cloudimages?name=${LONG}`, 400],
    ['/v2/cloudimages?__proto__=1&constructor=2&__proto__[x]=1', 200],
    [`/v2/cloudimages?${'tag=a&'.repeat(60)}`, 400],
    ['/v2/cloudimages?limit=NaN', 400],
    ['/v2/images?sort=name:sideways', 400],
    ['/v2/cloudimages?created_at=gt:0000-99-99T99:99:99Z', 400],
    ['//v2/cloudimages', 404],
    ['/v2/cloudimages/../../etc/passwd', 404],
  ])('GET %.60s -> %d', async (url, status) => {
    const response = await gateway.app.inject({ url, headers: { 'x-auth-token': token } });
    expect(response.statusCode).toBe(status);
    expect(response.headers).toHaveProperty('x-request-id');
  });

  it.each([
    ['GET', '/nothing/here', 404],
    ['GET', '/v2/info/stores', 404],
    ['GET', '/v2/metadefs/namespaces', 404],
    ['PUT', '/v2/cloudimages', 405],
    ['DELETE', '/v2/images', 405],
    ['PATCH', '/v3/projects', 405],
  ] as const)('%s %s -> %d', async (method, url, status) => {
    const response = await gateway.app.inject({ method, url, headers: { 'x-auth-token': token } });
    expect(response.statusCode).toBe(status);
    if (status === 405) expect(response.headers.allow).toMatch(/GET/);
  });

  it('answers what is no HTTP with 400 in the gateway’s envelope', async () => {
    const answer = await send('THIS IS NO HTTP\r\n\r\n');
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('"error_code":"APIGW.0201"');
  });

  it('answers headers without end with 431', async () => {
    expect(await send(`GET / HTTP/1.1\r\nHost: a\r\nX-A: ${LONG}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 431 /);
  });

  it('answers two lengths, the beginning of request smuggling, with 400', async () => {
    expect(
      await send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'),
    ).toMatch(/^HTTP\/1\.1 400 /);
  });

  const head = (line: string, ...headers: string[]): string =>
    [line, `X-Auth-Token: ${token}`, 'Connection: close', ...headers, '', ''].join('\r\n');

  it('answers a request without Host with 400 in the gateway’s envelope', async () => {
    const answer = await send(head('GET /v2/cloudimages HTTP/1.1'));
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toMatch(/x-request-id: [0-9a-f]{32}/i);
    expect(answer).toContain('"error_code":"APIGW.0201"');
  });

  it('serves HTTP/1.0, which has no Host', async () => {
    expect(await send(head('GET /v2/cloudimages HTTP/1.0'))).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('serves a request with an expectation that it does not know', async () => {
    const answer = await send(head('GET /v2/cloudimages HTTP/1.1', 'Host: a', 'Expect: the-unexpected'));
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(answer).toMatch(/x-request-id: [0-9a-f]{32}/i);
  });

  it.each([
    ['/v2/images/absent', 'text/html'],
    ['http://elsewhere.example.test/v2/images/absent', 'text/html'],
    ['http://elsewhere.example.test/v2/images/absent?x=/v3/', 'text/html'],
    ['/v2/%69mages/absent', 'text/html'],
    ['/%763/projects/absent', '"title":"Not Found"'],
    ['https://elsewhere.example.test/v3/projects/absent', '"title":"Not Found"'],
    ['/v2/cloudimage%73/absent/absent', '"error_code":"APIGW.0101"'],
  ])('refuses %s in the shape of the API that it leads to', async (target, shape) => {
    const answer = await send(head(`GET ${target} HTTP/1.1`, 'Host: a'));
    expect(answer).toMatch(/^HTTP\/1\.1 404 /);
    expect(answer).toContain(shape);
  });

  it('names the methods of a path however it is written', async () => {
    expect(await send(head('PATCH http://elsewhere.example.test/v2/%69mages HTTP/1.1', 'Host: a'))).toMatch(
      /^HTTP\/1\.1 405 [\s\S]*\r\nallow: GET, HEAD, POST\r\n/i,
    );
  });

  it('takes a signature of the path alone when the request line has the whole address', async () => {
    const signed = signRequest(
      { method: 'GET', rawPath: '/v2/cloudimages', rawQuery: 'limit=0', headers: { host: 'a' } },
      gateway.identity,
      systemClock.now(),
    );
    const headers = Object.entries(signed).map(([name, value]) => `${name}: ${value}`);
    const line = 'GET http://a/v2/cloudimages?limit=0 HTTP/1.1';
    expect(await send([line, 'Connection: close', ...headers, '', ''].join('\r\n'))).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('tells nothing of its inside when the database is away', async () => {
    const away = await gatewayUnderTest();
    await away.parts.db.destroy();
    try {
      const response = await away.app.inject({ url: '/v2/cloudimages', headers: { 'x-auth-token': token } });
      expect([500, 503]).toContain(response.statusCode);
      expect(response.json()).toEqual({
        error: { code: 'IMG.0061', message: expect.stringMatching(/^Unknown internal error/) },
      });
      expect((await away.app.inject({ url: '/readyz' })).statusCode).toBe(503);
      expect((await away.app.inject({ url: '/healthz' })).statusCode).toBe(200);
    } finally {
      await away.app.close();
      await away.store.close();
      await away.database.drop();
    }
  });
});
