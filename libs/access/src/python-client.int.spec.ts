import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { fixedClock } from '@ims/db';
import { FailureLock } from './failure-lock';
import { type KeyRecord, type SignedRequest, verifySignature } from './verify-signature';

const run = promisify(execFile);
/** The official Python client from test/clients/requirements.txt. */
const PYTHON = resolve(__dirname, '../../../.cache/python/bin/python');

const KEY: KeyRecord = {
  access: 'EXAMPLEAK0000000001',
  secret: 'ExampleSecretKey0000000000000000000000001',
  status: 'active',
  securityTokenHash: null,
  expiresAt: null,
};
const COUNT = 300;

/** Signs requests that a seeded generator makes up: paths, queries, headers and bodies of every kind of character. */
const PROGRAM = `
import base64, json, random, sys
from urllib.parse import quote
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer

seed, count, access, secret = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
pick = random.Random(seed)
ALPHABET = "abcXYZ019-_.~ !'()*+,;:@&=$/?#%|\\"<>[]{}^\`äé一🙂"
def text(most, least=0):
    return "".join(pick.choice(ALPHABET) for _ in range(pick.randint(least, most)))
def body_of(kind):
    if kind == "none": return None, {}
    if kind == "json": return json.dumps({"name": text(20)}), {"Content-Type": "application/json"}
    if kind == "utf8": return json.dumps({"name": text(20)}, ensure_ascii=False), {"Content-Type": "application/json;charset=UTF-8"}
    if kind == "patch": return json.dumps([{"op": "replace"}]), {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    return bytes(pick.randrange(256) for _ in range(50)), {"Content-Type": "application/octet-stream"}
requests = []
for _ in range(count):
    kind = pick.choice(["none", "json", "utf8", "patch", "bytes"])
    body, headers = body_of(kind)
    headers.update({"X-Sdk-Date": "20261124T120000Z", "User-Agent": "huaweicloud-usdk-python/3.0 " + text(5, 1).strip()})
    if pick.random() < 0.5: headers["X-Project-Id"] = "0123456789abcdef0123456789abcdef"
    if pick.random() < 0.2: headers["x_under_score"] = "left out"
    path = "/v2/" + "/".join(quote(text(6, 1), safe="") for _ in range(pick.randint(1, 4)))
    values = [text(8), pick.randint(0, 99), True, [text(3), text(3)]]
    query = list({text(5, 1): pick.choice(values) for _ in range(pick.randint(0, 4))}.items())
    request = SdkRequest(pick.choice(["GET", "POST", "PUT", "PATCH", "DELETE"]), "https", "ims.example.test", path, None, query, headers, body)
    Signer(BasicCredentials(access, secret, "p")).sign(request)
    raw = request.body if isinstance(request.body, bytes) else (request.body or "").encode()
    requests.append({"method": request.method, "uri": request.uri, "kind": kind, "body": base64.b64encode(raw).decode(),
                     "headers": {name.lower(): value for name, value in request.header_params.items()}})
print(json.dumps(requests))
`;

interface PythonRequest {
  method: string;
  uri: string;
  kind: 'none' | 'json' | 'utf8' | 'patch' | 'bytes';
  body: string;
  headers: Record<string, string>;
}

describe('requests that the official Python client signed', () => {
  const clock = fixedClock(new Date('2026-11-24T12:00:00Z'));
  let requests: (SignedRequest & Pick<PythonRequest, 'kind'>)[];

  const verify = (request: SignedRequest) =>
    verifySignature(request, () => Promise.resolve(KEY), {
      clock,
      // One of its own for each: a wrong one must not lock the key for the next.
      lock: new FailureLock(clock),
      scopes: { regions: [], services: [] },
    });

  beforeAll(async () => {
    if (!existsSync(PYTHON)) throw new Error(`${PYTHON} is missing; run: node bootstrap.mjs test`);
    const { stdout } = await run(PYTHON, ['-c', PROGRAM, '20261124', String(COUNT), KEY.access, KEY.secret], {
      maxBuffer: 16 * 1024 * 1024,
    });
    // The program above prints exactly this.
    requests = (JSON.parse(stdout) as PythonRequest[]).map(({ method, uri, kind, body, headers }) => {
      const [rawPath = '', ...query] = uri.split('?');
      return { method, rawPath, rawQuery: query.join('?'), kind, headers, body: Buffer.from(body, 'base64') };
    });
  });

  it('are accepted, all of them', async () => {
    expect(requests).toHaveLength(COUNT);
    for (const request of requests) await expect(verify(request)).resolves.toBe(KEY);
  });

  it('are refused with another path, query or method (K4)', async () => {
    for (const request of requests) {
      const altered = [
        { ...request, rawPath: `${request.rawPath}x` },
        { ...request, rawQuery: `${request.rawQuery}&x=1` },
        { ...request, method: 'OPTIONS' },
      ];
      for (const one of altered) await expect(verify(one)).rejects.toMatchObject({ code: 'APIGW.0301' });
    }
  });

  it('are refused with another JSON body (K4); the client leaves other bodies unsigned', async () => {
    const signed = requests.filter(({ kind }) => kind === 'json' || kind === 'utf8' || kind === 'none');
    expect(signed.length).toBeGreaterThan(100);
    for (const request of signed) {
      await expect(verify({ ...request, body: Buffer.from('{"name":"other"}') })).rejects.toMatchObject({
        code: 'APIGW.0301',
      });
    }
  });
});
