import { createHash } from 'node:crypto';
import { fixedClock } from '@ims/db';
import { canonicalPath, canonicalQuery, canonicalRequest, pathCandidates, sha256Hex } from './canonical-request';
import { FailureLock } from './failure-lock';
import { signRequest } from './sign-request';
import { derivedKey, parseSdkDate, sdkDate } from './signature';
import { type KeyRecord, type SignedRequest, verifySignature } from './verify-signature';

const SDK_KEY = { access: 'AccessKey', secret: 'SecretKey' };
const HOST = { host: 'service.endpoint.myhuaweicloud.com' };
const IN_2020 = new Date('2020-06-08T02:39:00Z');
const IN_2006 = new Date('2006-01-02T15:04:05Z');
const DERIVED = { region: 'test-region-1', service: 'demo' };

const signatureIn = (headers: Record<string, string>): string =>
  /Signature=(.*)$/.exec(headers.authorization ?? '')?.[1] ?? '';

const P1 = { method: 'GET', rawPath: '/resources', rawQuery: 'size=1', headers: HOST };
const P2 = { ...P1, method: 'POST', body: '{"name":"test","id":1}' };
const G1 = { method: 'GET', rawPath: '/path', rawQuery: 'limit=1', headers: {} };
const G2 = { method: 'POST', rawPath: '/path', rawQuery: 'key=value', headers: {}, body: '{"Name":"test","Id":1}\n' };

describe('signatures as the official clients compute them (iam 6.2, 7)', () => {
  it.each([
    ['P1', P1, IN_2020, 'cfb4171acec81de07d50e53d57eb77edd537414d66ddb1d7d780f128e12cd842'],
    ['P2', P2, IN_2020, '436b1ac0a1ae03705934bb70ef2f2e09f7bfed2117d731a38235053199323a1f'],
    ['G1', G1, IN_2006, '5a2ce64c865e0e6046321c6f3d5a77ba8413eeaf355c3166c03d58d02ac79624'],
    ['G2', G2, IN_2006, 'cecc2af119b18ab70b4d094c0750f3b42c02f254903179a0fc2cc72fc9db4f59'],
  ])('%s', (_name, request, at, signature) => {
    expect(signatureIn(signRequest(request, SDK_KEY, at))).toBe(signature);
  });

  it.each([
    ["P1'", P1, IN_2020, 'f7dfee056692e58dede80fc80cb89bbfabf45552dd7cd8d18a0a13484455b98e'],
    ["P2'", P2, IN_2020, '8e2d91eaf9656ec5d6fab27812e2d898a35aaaa5e16ee0a0365c38527ccfb3cf'],
    ["G1'", G1, IN_2006, '8fd3610508884bb19718317797c7378716a94bc740d97502e569322e366341cc'],
    ["G2'", G2, IN_2006, '4112f88b92d82dd1e1b7dd142f1e99e4f1762c42ca8fe0968b3045120870a903'],
  ])('%s with a derived key', (_name, request, at, signature) => {
    expect(signatureIn(signRequest(request, { ...SDK_KEY, derived: DERIVED }, at))).toBe(signature);
  });

  it("P1' derives its key", () => {
    expect(derivedKey(SDK_KEY, { day: '20200608', ...DERIVED })).toBe(
      '5f2c01cbdf35366c541e012b779258a826d7376e6ff5238d76d85000690e1b50',
    );
  });

  it('P1 and P2 have the published canonical requests', () => {
    const headers = [
      ['host', HOST.host],
      ['x-sdk-date', '20200608T023900Z'],
    ] as const;
    const p1 = canonicalRequest({
      method: 'GET',
      path: '/resources/',
      query: 'size=1',
      headers,
      bodyHash: sha256Hex(''),
    });
    expect(p1).toBe(
      [
        'GET',
        '/resources/',
        'size=1',
        'host:service.endpoint.myhuaweicloud.com',
        'x-sdk-date:20200608T023900Z',
        '',
        'host;x-sdk-date',
        'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
      ].join('\n'),
    );
    expect(sha256Hex(p1)).toBe('de94dd1e1ccdb730b403ce35d7e14f7c7b04337f6def1c3a3a2ba936852b133f');
    const bodyHash = '8ed555081b9961769014bc1182c629bb0fe68d7b01c1fc1caab4dc791f377e8c';
    const p2 = canonicalRequest({ method: 'POST', path: '/resources/', query: 'size=1', headers, bodyHash });
    expect(sha256Hex(p2)).toBe('2b1b2515e48cb55e043ff2ec5b93d3f13ec287e1da1d7a2e4e14b0611a341969');
  });

  it('Q1 has the published canonical query', () => {
    const test = encodeURIComponent('一 (&=?!#%.*)');
    expect(canonicalQuery(`test=${test}&path=%2Ftmp%2F123&multi=3&multi=1&multi=2&limit=1&enable=true`)).toBe(
      'enable=true&limit=1&multi=1&multi=2&multi=3&path=%2Ftmp%2F123&test=%E4%B8%80%20%28%26%3D%3F%21%23%25.%2A%29',
    );
  });

  it('a request in the style of the Node SDK, with a body on GET', () => {
    const headers = signRequest(
      {
        method: 'GET',
        rawPath: '/v2/cloudimages',
        rawQuery: '__imagetype=private&limit=2&name=a%20b',
        headers: {
          'Content-Type': 'application/json',
          Host: 'ims.region-1.example.test',
          'X-Project-Id': '0123456789abcdef0123456789abcdef',
        },
        body: '{}',
      },
      { access: 'EXAMPLEAK0000000001', secret: 'ExampleSecretKey0000000000000000000000001' },
      new Date('2026-01-02T03:04:05Z'),
    );
    expect(headers.authorization).toBe(
      'SDK-HMAC-SHA256 Access=EXAMPLEAK0000000001, SignedHeaders=content-type;host;x-project-id;x-sdk-date, ' +
        'Signature=37faee5567583d25cadf5c5a189e7ba66563d0fbcfeae22a84935ecba2c79199',
    );
  });
});

describe('canonical forms', () => {
  it('knows the three ways in which clients sign a path (iam 6.3)', () => {
    expect(pathCandidates('/v2/im%20age%%C3%A9/x')).toEqual([
      '/v2/im%20age%25%C3%A9/x/',
      '/v2/im%2520age%25%25C3%25A9/x/',
      '/v2/im%2520age%25%C3%A9/x/',
    ]);
  });

  it('also takes a slash that was escaped inside a segment as one between segments (Python client)', () => {
    expect(pathCandidates('/tags/a%2Fb')).toEqual(['/tags/a%2Fb/', '/tags/a%252Fb/', '/tags/a/b/']);
  });

  it('needs one form for plain ids', () => {
    expect(pathCandidates('/v1/cloudimages/9f1c-_.~/file')).toEqual(['/v1/cloudimages/9f1c-_.~/file/']);
  });

  it.each([
    ['', '/'],
    ['/', '/'],
    ['/a', '/a/'],
    ['/a/', '/a/'],
    ['/a%2fb', '/a%2Fb/'],
    ["/!'()*", '/%21%27%28%29%2A/'],
  ])('makes %j the path %j', (raw, canonical) => {
    expect(canonicalPath(raw)).toBe(canonical);
  });

  it.each([
    ['', ''],
    ['k', 'k='],
    ['k=', 'k='],
    ['k=a=b', 'k=a%3Db'],
    ['a=1&&b=2', 'a=1&b=2'],
    ['a=b+c', 'a=b%20c'],
    ['a=%2B', 'a=%2B'],
    ['b=1&a=2&a=1', 'a=1&a=2&b=1'],
    ['a!=1&a=2', 'a=2&a%21=1'],
  ])('makes %j the query %j', (raw, canonical) => {
    expect(canonicalQuery(raw)).toBe(canonical);
  });

  it.each(['20260230T000000Z', '20260101T240000Z', '2026-01-01T00:00:00Z', '20260101T000000', '', '20261301T000000Z'])(
    'takes %j for no date',
    (text) => expect(parseSdkDate(text)).toBeUndefined(),
  );

  it('reads the date it writes', () => {
    const at = new Date('2026-11-24T05:06:07.890Z');
    expect(sdkDate(at)).toBe('20261124T050607Z');
    expect(parseSdkDate(sdkDate(at))).toBe(Date.parse('2026-11-24T05:06:07Z'));
  });
});

describe(verifySignature.name, () => {
  const NOW = new Date('2026-11-24T12:00:00Z');
  const KEY: KeyRecord = {
    access: 'EXAMPLEAK0000000001',
    secret: 'ExampleSecretKey0000000000000000000000001',
    status: 'active',
    securityTokenHash: null,
    expiresAt: null,
  };
  const clock = fixedClock(NOW);
  let lock = new FailureLock(clock);
  beforeEach(() => {
    clock.set(NOW);
    lock = new FailureLock(clock);
  });

  const SCOPES = { regions: ['region-1', 'globe'], services: ['ims'] };
  const verify = (request: SignedRequest, key: KeyRecord = KEY, strict = false) =>
    verifySignature(request, (access) => Promise.resolve(access === key.access ? key : undefined), {
      clock,
      lock,
      scopes: SCOPES,
      requireSignedSecurityToken: strict,
    });

  interface Wanted {
    method?: string;
    rawPath?: string;
    rawQuery?: string;
    headers?: Record<string, string>;
    body?: string;
    at?: Date;
    signer?: Partial<Parameters<typeof signRequest>[1]>;
  }
  function signed({
    method = 'POST',
    rawPath = '/v2/cloudimages/action',
    rawQuery = 'limit=2&name=a%20b',
    headers = { host: 'ims.example.test', 'content-type': 'application/json', 'x-project-id': 'p1' },
    body = '{"name":"web"}',
    at = NOW,
    signer = {},
  }: Wanted = {}): SignedRequest {
    return {
      method,
      rawPath,
      rawQuery,
      headers: signRequest({ method, rawPath, rawQuery, headers, body }, { ...KEY, ...signer }, at),
      body: Buffer.from(body),
    };
  }
  const withHeader = (request: SignedRequest, name: string, value: string | undefined): SignedRequest => ({
    ...request,
    headers: { ...request.headers, [name]: value },
  });
  const replaced = (request: SignedRequest, what: string | RegExp, by: string): SignedRequest =>
    withHeader(request, 'authorization', String(request.headers.authorization).replace(what, by));

  const REFUSED = { code: 'APIGW.0301', status: 401 };

  it('accepts what was signed, with the body itself or its digest', async () => {
    const request = signed();
    expect(await verify(request)).toBe(KEY);
    const sha256 = createHash('sha256').update('{"name":"web"}').digest('hex');
    expect(await verify({ ...request, body: { sha256, sizeBytes: 14 } })).toBe(KEY);
  });

  it('accepts a derived key of our region and service', async () => {
    expect(await verify(signed({ signer: { derived: { region: 'region-1', service: 'ims' } } }))).toBe(KEY);
    expect(await verify(signed({ signer: { derived: { region: 'globe', service: 'ims' } } }))).toBe(KEY);
  });

  it.each([
    ['region', { region: 'region-2', service: 'ims' }],
    ['service', { region: 'region-1', service: 'ecs' }],
  ])('refuses a derived key of another %s', async (_what, derived) => {
    await expect(verify(signed({ signer: { derived } }))).rejects.toMatchObject(REFUSED);
  });

  it('refuses a derived key of another day', async () => {
    const request = signed({ signer: { derived: { region: 'region-1', service: 'ims' } } });
    await expect(verify(replaced(request, '/20261124/', '/20261123/'))).rejects.toMatchObject(REFUSED);
  });

  // Fault matrix K4: one changed part at a time.
  it.each<[string, (request: SignedRequest) => SignedRequest]>([
    ['method', (request) => ({ ...request, method: 'PUT' })],
    ['path', (request) => ({ ...request, rawPath: '/v2/cloudimages/actioN' })],
    ['path, by a segment more', (request) => ({ ...request, rawPath: '/v2/cloudimages/action/x' })],
    ['query value', (request) => ({ ...request, rawQuery: 'limit=3&name=a%20b' })],
    ['query name', (request) => ({ ...request, rawQuery: 'limits=2&name=a%20b' })],
    ['query, by a pair more', (request) => ({ ...request, rawQuery: 'limit=2&name=a%20b&x' })],
    ['query, by a pair less', (request) => ({ ...request, rawQuery: 'limit=2' })],
    ['signed header', (request) => withHeader(request, 'x-project-id', 'p2')],
    ['host', (request) => withHeader(request, 'host', 'evil.example.test')],
    ['content type', (request) => withHeader(request, 'content-type', 'text/plain')],
    ['signed header, by its absence', (request) => withHeader(request, 'x-project-id', undefined)],
    ['date', (request) => withHeader(request, 'x-sdk-date', '20261124T120001Z')],
    ['body', (request) => ({ ...request, body: Buffer.from('{"name":"wEb"}') })],
    ['body, by its absence', (request) => ({ ...request, body: Buffer.alloc(0) })],
    ['body, announced as unsigned', (request) => withHeader(request, 'x-sdk-content-sha256', 'UNSIGNED-PAYLOAD')],
    ['list of signed headers', (request) => replaced(request, ';x-project-id', '')],
    ['order of signed headers', (request) => replaced(request, 'content-type;host', 'host;host')],
    ['access key', (request) => replaced(request, KEY.access, 'EXAMPLEAK0000000002')],
    ['signature', (request) => replaced(request, /Signature=./, 'Signature=g')],
    [
      'signature, by its last digit',
      (request) => replaced(request, /.$/, String(request.headers.authorization).endsWith('0') ? '1' : '0'),
    ],
    ['signature, cut', (request) => replaced(request, /.$/, '')],
    ['algorithm', (request) => replaced(request, 'SDK-HMAC-SHA256', 'SDK-HMAC-SM3')],
    ['whole header', (request) => withHeader(request, 'authorization', undefined)],
  ])('refuses a request whose %s was altered (K4)', async (what, alter) => {
    const altered = alter(signed());
    if (what === 'body, announced as unsigned') {
      // Stated but not signed, on a JSON body: the true hash still counts, so only an altered body may fail.
      await expect(verify(altered)).resolves.toBe(KEY);
      await expect(verify({ ...altered, body: Buffer.from('{}') })).rejects.toMatchObject(REFUSED);
    } else {
      await expect(verify(altered)).rejects.toMatchObject(REFUSED);
    }
  });

  it('refuses another secret', async () => {
    await expect(verify(signed({ signer: { secret: 'x' } }))).rejects.toMatchObject({
      ...REFUSED,
      message: 'Incorrect IAM authentication information: verify aksk signature fail',
    });
  });

  it.each([
    [-900_000, true],
    [900_000, true],
    [-901_000, false],
    [901_000, false],
  ])('a date %d ms off is accepted: %s (K6)', async (offset, accepted) => {
    const result = verify(signed({ at: new Date(NOW.getTime() + offset) }));
    if (accepted) await expect(result).resolves.toBe(KEY);
    else
      await expect(result).rejects.toMatchObject({ ...REFUSED, message: expect.stringContaining('signature expired') });
  });

  it('judges the date to the millisecond (K6)', async () => {
    const request = signed();
    clock.set(new Date(NOW.getTime() + 900_000));
    await expect(verify(request)).resolves.toBe(KEY);
    clock.set(new Date(NOW.getTime() + 900_001));
    await expect(verify(request)).rejects.toMatchObject(REFUSED);
  });

  it('needs the date among the signed headers', async () => {
    await expect(verify(replaced(signed(), ';x-sdk-date', ''))).rejects.toMatchObject(REFUSED);
  });

  it('survives the forms in which clients sign paths', async () => {
    // What the Node SDK signed and what it sent, as captured (iam 6.3).
    const sent = '/v1/im%20age%%C3%A9/x';
    const request = signed({ rawPath: '/v1/im%2520age%25%C3%A9/x' });
    await expect(verify({ ...request, rawPath: sent })).resolves.toBe(KEY);
    // Python, Go, Terraform: decoded, then encoded.
    await expect(verify(signed({ rawPath: '/v1/a%20b' }))).resolves.toBe(KEY);
  });

  it('reads a plus in a query as a blank, and never as the plus that was signed', async () => {
    const blank = signed({ rawQuery: 'name=a%20b' });
    await expect(verify({ ...blank, rawQuery: 'name=a+b' })).resolves.toBe(KEY);
    const plus = signed({ rawQuery: 'name=a%2Bb' });
    await expect(verify({ ...plus, rawQuery: 'name=a+b' })).rejects.toMatchObject(REFUSED);
  });

  it('takes a request without host among its signed headers (Go client)', async () => {
    await expect(verify(signed({ headers: {} }))).resolves.toBe(KEY);
  });

  it('takes an unsigned payload only of a body that is not JSON', async () => {
    const stated = { 'x-sdk-content-sha256': 'UNSIGNED-PAYLOAD' };
    const binary = signed({ headers: { ...stated, 'content-type': 'application/octet-stream' }, body: 'bytes' });
    await expect(verify(binary)).resolves.toBe(KEY);
    const patch = 'application/openstack-images-v2.1-json-patch';
    await expect(verify(signed({ headers: { ...stated, 'content-type': patch } }))).resolves.toBe(KEY);
    for (const type of ['application/json', 'Application/JSON', 'application/json;charset=utf8']) {
      const json = signed({ headers: { ...stated, 'content-type': type } });
      await expect(verify(json)).rejects.toMatchObject(REFUSED);
    }
    await expect(verify(signed({ headers: stated }))).rejects.toMatchObject(REFUSED);
  });

  it('compares a stated hash with the true one', async () => {
    const right = { 'x-sdk-content-sha256': sha256Hex('{"name":"web"}') };
    await expect(verify(signed({ headers: right }))).resolves.toBe(KEY);
    const wrong = signed({ headers: { 'x-sdk-content-sha256': sha256Hex('{}') } });
    await expect(verify(wrong)).rejects.toMatchObject(REFUSED);
  });

  it('takes the empty hash of an empty body whatever was stated (Python client)', async () => {
    const request = signed({ method: 'GET', body: '', headers: { 'content-type': 'application/json' } });
    await expect(verify(withHeader(request, 'x-sdk-content-sha256', 'UNSIGNED-PAYLOAD'))).resolves.toBe(KEY);
  });

  it('takes header values beyond ASCII as the bytes they are', async () => {
    const request = signed({ headers: { host: 'h', 'user-agent': 'straße' } });
    const onTheWire = Buffer.from('straße').toString('latin1');
    await expect(verify(withHeader(request, 'user-agent', onTheWire))).resolves.toBe(KEY);
  });

  it('refuses a body over 12 MiB and takes one of 12 MiB', async () => {
    const limit = 12 * 1024 * 1024;
    const sha256 = sha256Hex('{"name":"web"}');
    await expect(verify({ ...signed(), body: { sha256, sizeBytes: limit } })).resolves.toBe(KEY);
    await expect(verify({ ...signed(), body: { sha256, sizeBytes: limit + 1 } })).rejects.toMatchObject({
      code: 'APIGW.0201',
      status: 413,
    });
  });

  it('locks a key for five minutes after five wrong signatures in a row', async () => {
    const wrong = signed({ signer: { secret: 'guess' } });
    for (let attempt = 1; attempt <= 4; attempt += 1) await expect(verify(wrong)).rejects.toMatchObject(REFUSED);
    await expect(verify(signed())).resolves.toBe(KEY);
    for (let attempt = 1; attempt <= 5; attempt += 1) await expect(verify(wrong)).rejects.toMatchObject(REFUSED);
    await expect(verify(signed())).rejects.toMatchObject({ message: expect.stringContaining('locked') });
    clock.set(new Date(NOW.getTime() + 299_999));
    await expect(verify(signed())).rejects.toMatchObject({ message: expect.stringContaining('locked') });
    clock.set(new Date(NOW.getTime() + 300_000));
    await expect(verify(signed())).resolves.toBe(KEY);
  });

  it('refuses an inactive key', async () => {
    await expect(verify(signed(), { ...KEY, status: 'inactive' })).rejects.toMatchObject(REFUSED);
  });

  it('refuses a temporary key without its token, with another token, or after its end', async () => {
    const temporary: KeyRecord = {
      ...KEY,
      securityTokenHash: createHash('sha256').update('session').digest(),
      expiresAt: new Date(NOW.getTime() + 1),
    };
    const right = signed({ signer: { securityToken: 'session' } });
    await expect(verify(right, temporary)).resolves.toBe(temporary);
    await expect(verify(signed(), temporary)).rejects.toMatchObject(REFUSED);
    await expect(verify(signed({ signer: { securityToken: 'other' } }), temporary)).rejects.toMatchObject(REFUSED);
    const unsignedToken = withHeader(signed(), 'x-security-token', 'session');
    await expect(verify(unsignedToken, temporary)).resolves.toBe(temporary);
    await expect(verify(unsignedToken, temporary, true)).rejects.toMatchObject(REFUSED);
    await expect(verify(right, { ...temporary, expiresAt: NOW })).rejects.toMatchObject(REFUSED);
  });
});
