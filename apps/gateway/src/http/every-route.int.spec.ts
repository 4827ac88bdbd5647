import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';

interface Route {
  method: 'GET' | 'POST' | 'DELETE' | 'HEAD' | 'PUT' | 'PATCH';
  path: string;
}

const METHODS = ['GET', 'POST', 'DELETE', 'HEAD', 'PUT', 'PATCH'] as const;

/** Every route the gateway serves, as its own list has them. */
const ROUTES: Route[] = readFileSync(join(__dirname, '../../routes.txt'), 'utf8')
  .split('\n')
  .flatMap((line) => {
    const [, name = '', path = ''] = line.trim().split(/\s+/);
    const method = METHODS.find((known) => known === name);
    return method === undefined || path.startsWith('/healthz') || path.startsWith('/readyz') ? [] : [{ method, path }];
  });

const HOSTILE_IDS = [
  '%00',
  '%FF%FE',
  '..%2f..%2fetc%2fpasswd',
  "'%3B%20drop%20table%20image%3B--",
  '%F0%9F%92%A9',
  '%E2%80%AE',
  '__proto__',
  'constructor',
  'null',
  '-1',
  '9'.repeat(400),
  '%25%30%30',
  `${randomUUID().toUpperCase()}`,
  'A'.repeat(32),
];

const HOSTILE_QUERIES = [
  'limit=-1',
  'limit=1e9',
  'limit=99999999999999999999',
  'limit=2147483647',
  'limit=',
  'limit=1000',
  'marker=%00',
  `marker=${randomUUID()}`,
  'marker=in:',
  'id=in:',
  'name=in:',
  'status=in:%22',
  'status=nothing',
  'name=%00',
  'name=%F0%9F%92%A9',
  'tag=%00',
  'tag=',
  'tag=in:',
  'tag[]=a',
  '%00=a',
  '__%00=a',
  '__os_type[$ne]=1',
  '__os_type=a&__os_type=%E2%80%AE',
  'size_min=9007199254740991',
  'size_min=9999999999999999',
  'min_disk=2147483648',
  'min_ram=-0',
  'created_at=0000-01-01T00:00:00Z',
  'created_at=lt:9999-12-31T23:59:59Z',
  'updated_at=neq:2026-02-30T00:00:00Z',
  'created_at=gt:2026-01-01T24:00:00Z',
  'sort=',
  'sort=name:asc:desc',
  'sort=,',
  'sort_key=id&sort_dir=desc&sort_key=id&sort_dir=asc',
  'sort_key=size&sort_dir=asc',
  'sort_key=container_format',
  'sort_key=__proto__',
  'visibility=__proto__',
  'visibility=constructor',
  'enterprise_project_id=%00',
  'flavor_id=(((((((((((',
  'format=%00',
  'format=raw&format=zvhd2',
  'page=0',
  'page=999999999999&per_page=5000',
  'per_page=-1',
  'name=a&name=b',
  'enabled=maybe',
  'nocatalog=%00',
  `${'a'.repeat(3000)}=b`,
  Array.from({ length: 900 }, (_, n) => `__a${n}=b`).join('&'),
];

const HOSTILE_BODIES = [
  '',
  '[]',
  '""',
  '0',
  'true',
  '{}',
  '{"a":1e999}',
  '\uFEFF{}',
  '{"delete_backup":"yes"}',
  '{"auth":{}}',
  '{"auth":{"identity":{"methods":[]}}}',
  '{"auth":{"identity":{"methods":["password"],"password":{"user":{}}}}}',
  '{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"a\\u202e","password":"","domain":{"name":"\\ud83d\\udca9"}}}}}}',
  '{"auth":{"identity":{"methods":["token"],"token":{"id":"\\u0001"}}}}',
  '{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"x","password":"y"}}},"scope":{"project":{"id":"\\u0007"}}}}',
  '{"name":"a","image_url":"images:o","min_disk":1,"tags":["\\ud83d\\udca9=\\u202e"]}',
  '{"name":"a","image_url":"images:o","min_disk":1,"tags":["="]}',
  '{"name":"a","image_url":"images:o","min_disk":1,"tags":["__proto__=a","constructor=b"]}',
  '{"name":"a","image_url":"images:o","min_disk":1,"image_tags":[{"key":"","value":""}]}',
  '{"name":"a","image_url":"images:o","min_disk":1,"image_tags":[{"key":"a","value":"b"},{"key":"a","value":"c"}]}',
  '{"name":"a","image_url":":","min_disk":1}',
  '{"name":"a","image_url":"images:","min_disk":1}',
  '{"name":"a","image_url":"images:.ims-bucket.json","min_disk":1}',
  '{"name":"a","image_url":"images:a/../../b","min_disk":1}',
  '{"name":"e\\u0301\\u200b","image_url":"images:o","min_disk":1}',
  '{"name":"a","image_url":"images:\\ud83d\\udca9","min_disk":1}',
  '{"name":"a","image_url":"images:o","min_disk":0}',
  '{"name":"a","image_url":"images:o","min_disk":1.5}',
  '{"name":"a","image_url":"images:o","min_disk":1025}',
  '{"name":"a","image_url":"images:o","min_disk":1,"min_ram":4096,"max_ram":1}',
  '{"name":"a","image_url":"images:o","min_disk":1,"instance_id":"b","volume_id":"c"}',
  '{"name":"a","image_url":"images:o","min_disk":1,"enterprise_project_id":"../"}',
  '{"name":"a","image_url":"images:o","min_disk":1,"description":"<script>\\r\\n"}',
  '{"name":"a","image_url":"images:o","min_disk":1,"cmk_id":"\\u202e"}',
  '{"name":"a","image_url":"images:o","min_disk":1,"data_images":[{}]}',
];

const HOSTILE_HEADERS: Record<string, string>[] = [
  { range: 'bytes=0-99999999999999999999' },
  { range: 'bytes=-0' },
  { 'if-range': '"'.repeat(500) },
  { 'content-type': 'application/json; charset=utf-16' },
  { 'content-type': ';;;' },
  { 'content-encoding': 'gzip' },
  { accept: 'application/xml' },
  { 'x-project-id': '\u00ff' },
  { 'x-project-id': 'f'.repeat(32) },
  { 'x-subject-token': '\u00ff\u0080' },
  { 'x-subject-token': 'x'.repeat(8000) },
  { 'x-auth-token': '\u00ff' },
  { authorization: 'SDK-HMAC-SHA256 ' },
  { authorization: 'SDK-HMAC-SHA256 Access=, SignedHeaders=, Signature=', 'x-sdk-date': '99999999T999999Z' },
  { expect: '100-continue' },
  { 'x-api-version': '\u00ff' },
];

let gateway: GatewayUnderTest;
let token: string;

beforeAll(async () => {
  gateway = await gatewayUnderTest();
  token = await gateway.tokenOf('acme', 'alice');
});
afterAll(() => gateway.close());

interface Attempt {
  url?: string;
  payload?: string;
  headers?: Record<string, string>;
}

/** What the route answers, or a sentence when that is no answer a caller should ever get. */
async function complaint({ method }: Route, { url = '', payload, headers = {} }: Attempt): Promise<string[]> {
  const answer = await gateway.app.inject({
    method,
    url,
    headers: { 'x-auth-token': token, 'content-type': 'application/json', ...headers },
    ...(payload === undefined ? {} : { payload }),
    // Some answers go on for ever.
    payloadAsStream: true,
  });
  const body = await beginningOf(answer.stream(), answer.headers['content-type']);
  const what = `${method} ${url.slice(0, 120)} ${JSON.stringify(headers).slice(0, 120)} ${payload ?? ''}`;
  if (answer.statusCode >= 500) return [`${what} -> ${answer.statusCode} ${body}`];
  if (answer.headers['x-request-id'] === undefined) return [`${what} -> ${answer.statusCode} without a request id`];
  if (/node_modules|\n\s+at |select |violates/.test(body)) return [`${what} tells of its inside: ${body}`];
  return [];
}

/** The whole body, except of a stream of events: of that what comes first. */
async function beginningOf(body: Readable, type: unknown): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) {
    chunks.push(Buffer.from(chunk as Uint8Array));
    if (String(type).startsWith('text/event-stream')) break;
  }
  return Buffer.concat(chunks).toString();
}

const filled = (path: string, id: string): string =>
  path.replaceAll('{project_id}', gateway.identity.projectId).replaceAll(/\{\w+\}/g, id);

async function complaints(route: Route, attempts: Attempt[]): Promise<string[]> {
  const found = await Promise.all(attempts.map((attempt) => complaint(route, attempt)));
  return found.flat();
}

describe.each(ROUTES)('$method $path: a refusal at worst', (route) => {
  // Attempts that were all turned away at the door would prove nothing.
  afterEach(async () => {
    const { statusCode } = await gateway.app.inject({ url: '/v2/cloudimages', headers: { 'x-auth-token': token } });
    expect(statusCode).toBe(200);
  });

  it('of hostile ids', async () => {
    const urls = HOSTILE_IDS.flatMap((id) => [filled(route.path, id), route.path.replaceAll(/\{\w+\}/g, id)]);
    const attempts = [...new Set(urls)].map((url) => ({ url }));
    expect(await complaints(route, attempts)).toEqual([]);
  });

  it('of hostile queries', async () => {
    const path = filled(route.path, randomUUID());
    const attempts = HOSTILE_QUERIES.map((query) => ({ url: `${path}?${query}` }));
    expect(await complaints(route, attempts)).toEqual([]);
  });

  it('of hostile bodies and headers', async () => {
    const url = filled(route.path, randomUUID());
    const bodies = route.method === 'HEAD' ? [] : HOSTILE_BODIES.map((payload) => ({ url, payload }));
    const headers = HOSTILE_HEADERS.map((more) => ({ url, headers: more }));
    expect(await complaints(route, [...bodies, ...headers])).toEqual([]);
  });
});
