import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { openSource } from '@ims/buckets';
import { ImsError } from '@ims/contract';
import { systemClock } from '@ims/db';
import {
  temporaryDirectory,
  testDatabase,
  type TestDatabase,
  TestWebServer,
  waitFor,
  type WebHandler,
} from '@ims/testing';
import { createStagedFiles } from '../create-staged-files';
import { CERTIFICATE } from '../spec-support/certificate';
import { StagingFullError } from '../staging.errors';
import type { StagedFiles } from '../staging.port';
import { downloadFromWeb, type WebDownloadOptions } from './web-download';
import { WebRules } from './web-rules';

const MIB = 2 ** 20;
const projectId = randomBytes(16).toString('hex');
/** Two hosts of loopback: one the operator allows, one that is as forbidden as any of the operator's own. */
const ALLOWED = '127.0.0.2';
const FORBIDDEN = '127.0.0.3';

let database: TestDatabase;
let staged: StagedFiles;
let web: TestWebServer;
let inside: TestWebServer;
let names: Record<string, readonly string[]>;
let lookups: string[];

beforeAll(async () => {
  database = await testDatabase();
  staged = createStagedFiles({
    db: database.db,
    databaseUrl: database.url,
    directory: await temporaryDirectory(),
    maxProjectBytes: 64 * MIB,
    clock: systemClock,
  });
  web = await TestWebServer.start(ALLOWED);
  inside = await TestWebServer.start(FORBIDDEN);
});
beforeEach(() => {
  names = { 'files.example.test': [ALLOWED] };
  lookups = [];
  for (const server of [web, inside]) {
    server.files.clear();
    server.handlers.clear();
    server.requests.length = 0;
  }
});
afterEach(async () => {
  for (const { id } of await staged.list()) await staged.delete(id);
});
afterAll(async () => {
  await web.stop();
  await inside.stop();
  await staged.close();
  await database.drop();
});

function options(more: Partial<WebDownloadOptions> & { ports?: number[] } = {}): WebDownloadOptions {
  return {
    rules: new WebRules({ ports: more.ports ?? [web.port, inside.port], allow: [ALLOWED] }),
    maxBytes: 32 * MIB,
    idleMs: 2_000,
    pauseMs: 1,
    resolve: async (name) => {
      lookups.push(name);
      return names[name] ?? [];
    },
    ...more,
  };
}

async function fetchFile(uri: string, more: Parameters<typeof options>[0] = {}, id: string = randomUUID()) {
  await staged.create(id, { projectId });
  const length = await downloadFromWeb(staged, { id, uri, signal: new AbortController().signal }, options(more));
  const pinned = await staged.pin(id);
  if (pinned === undefined) throw new Error('nothing staged');
  const source = await openSource(staged.describe(pinned));
  const bytes = Buffer.alloc(source.sizeBytes);
  await source.read(0, bytes);
  await source.close();
  expect(length).toBe(bytes.length);
  return bytes;
}

async function refusalOf(uri: string, more: Parameters<typeof options>[0] = {}): Promise<string> {
  try {
    await fetchFile(uri, more);
  } catch (err) {
    if (err instanceof ImsError) return `${err.code} ${err.detail ?? ''}`;
    throw err;
  }
  throw new Error(`${uri} was fetched`);
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe('a file of the web', () => {
  it('arrives byte for byte, asked for by its name and as it is (CRE-30)', async () => {
    const bytes = randomBytes(5 * MIB + 3);
    web.files.set('/disk.raw', { bytes, etag: '"1"' });
    expect(sha256(await fetchFile(web.urlOf('/disk.raw', 'files.example.test')))).toBe(sha256(bytes));
    expect(web.requests).toHaveLength(1);
    expect(web.requests[0]?.headers).toMatchObject({
      host: `files.example.test:${web.port}`,
      'accept-encoding': 'identity',
    });
    expect(web.requests[0]?.headers.authorization).toBeUndefined();
    expect(web.requests[0]?.headers.range).toBeUndefined();
  });

  it('arrives over TLS, whose certificate must be that of the name', async () => {
    const secure = await TestWebServer.start(ALLOWED, CERTIFICATE);
    try {
      const bytes = randomBytes(MIB);
      secure.files.set('/disk.raw', { bytes });
      const trusting = { ca: CERTIFICATE.cert, ports: [secure.port] };
      names['another.example.test'] = [ALLOWED];
      expect(sha256(await fetchFile(secure.urlOf('/disk.raw', 'files.example.test'), trusting))).toBe(sha256(bytes));
      await expect(refusalOf(secure.urlOf('/disk.raw', 'another.example.test'), trusting)).resolves.toContain(
        'certificate of another.example.test',
      );
      await expect(
        refusalOf(secure.urlOf('/disk.raw', 'files.example.test'), { ports: [secure.port] }),
      ).resolves.toContain('IMG.0057');
    } finally {
      await secure.stop();
    }
  });

  it('is taken up where the connection broke, and only as long as it is the same version', async () => {
    const bytes = randomBytes(5 * MIB);
    web.files.set('/disk.raw', { bytes, etag: '"1"', cutAfter: 2 * MIB });
    expect(sha256(await fetchFile(web.urlOf('/disk.raw')))).toBe(sha256(bytes));
    expect(web.requests.length).toBeGreaterThan(1);
    expect(web.requests[1]?.headers).toMatchObject({ range: expect.stringMatching(/^bytes=\d+-$/), 'if-range': '"1"' });

    const changed = randomBytes(4 * MIB);
    web.requests.length = 0;
    web.handlers.set('/disk.raw', (request, response) => {
      // The first version breaks off; when it is asked for again, the file is another one.
      web.handlers.delete('/disk.raw');
      web.files.set('/disk.raw', { bytes: changed, etag: '"2"' });
      response.writeHead(200, { etag: '"1"', 'content-length': bytes.length });
      response.write(bytes.subarray(0, MIB), () => request.socket.destroy());
    });
    expect(sha256(await fetchFile(web.urlOf('/disk.raw')))).toBe(sha256(changed));
  });

  it.each([
    ['by another name of its version', '"2"', 3 * MIB],
    ['by another length', undefined, 3 * MIB - 7],
    ['when nothing seems left of it', '"2"', MIB],
  ])(
    'is never put together of two versions by a server that overlooks conditions, told %s',
    async (_how, etag, size) => {
      const first = randomBytes(3 * MIB);
      const second = randomBytes(size);
      let tries = 0;
      web.handlers.set('/disk.raw', (request, response) => {
        tries += 1;
        const [, from] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? [];
        const version = etag === undefined ? {} : { etag };
        if (tries === 1) {
          response.writeHead(200, { etag: '"1"', 'content-length': first.length });
          response.write(first.subarray(0, MIB), () => request.socket.destroy());
        } else if (from === undefined) response.writeHead(200, version).end(second);
        else if (Number(from) >= size)
          response.writeHead(416, { ...version, 'content-range': `bytes */${size}` }).end();
        else {
          const rest = second.subarray(Number(from));
          response.writeHead(206, { ...version, 'content-range': `bytes ${from}-${size - 1}/${size}` }).end(rest);
        }
      });
      expect(sha256(await fetchFile(web.urlOf('/disk.raw')))).toBe(sha256(second));
    },
  );

  it('is fetched from its beginning where its server cannot name versions', async () => {
    const bytes = randomBytes(3 * MIB);
    let tries = 0;
    web.handlers.set('/disk.raw', (request, response) => {
      tries += 1;
      expect(request.headers.range).toBeUndefined();
      response.writeHead(200, { 'content-length': bytes.length });
      if (tries === 1) response.write(bytes.subarray(0, MIB), () => request.socket.destroy());
      else response.end(bytes);
    });
    expect(sha256(await fetchFile(web.urlOf('/disk.raw')))).toBe(sha256(bytes));
    expect(tries).toBe(2);
  });

  it('goes on after the process that fetched it was lost, and needs no request when all was there', async () => {
    const bytes = randomBytes(4 * MIB);
    const id = randomUUID();
    await staged.create(id, { projectId });
    await staged.restart(id, { announcedBytes: bytes.length, validator: '"1"' });
    await staged.append(
      id,
      0,
      (async function* () {
        yield bytes.subarray(0, 3 * MIB);
      })(),
    );
    web.files.set('/disk.raw', { bytes, etag: '"1"' });
    expect(sha256(await fetchFile(web.urlOf('/disk.raw'), {}, id))).toBe(sha256(bytes));
    expect(web.requests.map(({ headers }) => headers.range)).toEqual([`bytes=${3 * MIB}-`]);
    // Again, as an attempt does whose predecessor died before it could report.
    expect(sha256(await fetchFile(web.urlOf('/disk.raw'), {}, id))).toBe(sha256(bytes));
    expect(web.requests).toHaveLength(1);
  });

  it('is complete when its server says that nothing is left', async () => {
    const bytes = randomBytes(MIB);
    const id = randomUUID();
    await staged.create(id, { projectId });
    await staged.restart(id, { announcedBytes: null, validator: '"1"' });
    await staged.append(
      id,
      0,
      (async function* () {
        yield bytes;
      })(),
    );
    web.files.set('/disk.raw', { bytes, etag: '"1"', hideLength: true });
    expect(sha256(await fetchFile(web.urlOf('/disk.raw'), {}, id))).toBe(sha256(bytes));
    expect(web.requests.map(({ headers }) => headers.range)).toEqual([`bytes=${MIB}-`]);
  });

  it('is asked for again while its server is busy, and given up when that does not end', async () => {
    const bytes = randomBytes(MIB);
    let busy = 2;
    web.handlers.set('/busy.raw', (_request, response) => {
      if (busy-- > 0) response.writeHead(503).end();
      else response.end(bytes);
    });
    expect(sha256(await fetchFile(web.urlOf('/busy.raw')))).toBe(sha256(bytes));
    web.handlers.set('/down.raw', (_request, response) => response.writeHead(503).end());
    await expect(refusalOf(web.urlOf('/down.raw'))).resolves.toBe(`IMG.0057 ${ALLOWED} answered 503`);
  });

  it('is given up when its server goes on talking without ever answering', async () => {
    const talk = createServer((socket) => {
      socket.on('error', () => undefined);
      void waitFor(
        async () => {
          socket.write('HTTP/1.1 100 Continue\r\n\r\n');
          return socket.destroyed;
        },
        { deadlineMs: 60_000, what: 'the fetch is given up', everyMs: 2 },
      );
    });
    talk.listen(0, ALLOWED);
    await once(talk, 'listening');
    const address = talk.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    try {
      await expect(refusalOf(`http://${ALLOWED}:${port}/disk.raw`, { idleMs: 50, ports: [port] })).resolves.toContain(
        'IMG.0057',
      );
    } finally {
      talk.close();
    }
  });

  it('is given up when nothing more comes', async () => {
    web.handlers.set('/slow.raw', (_request, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('a');
    });
    await expect(refusalOf(web.urlOf('/slow.raw'), { idleMs: 20 })).resolves.toContain('IMG.0057');
  });

  it.each([
    ['is not there', 404, {}, 'answered 404'],
    ['may not be had', 403, {}, 'answered 403'],
    ['is encoded', 200, { 'content-encoding': 'gzip' }, 'encoded as gzip'],
    ['is a part of what was asked for', 206, { 'content-range': 'bytes 5-9/10' }, 'answered 206'],
    ['has moved to nowhere', 302, {}, 'redirects to nowhere'],
  ])('is refused when it %s', async (_what, status, headers, reason) => {
    web.handlers.set('/disk.raw', (_request, response) => response.writeHead(status, headers).end('some bytes'));
    await expect(refusalOf(web.urlOf('/disk.raw'))).resolves.toContain(`IMG.0057`);
    await expect(refusalOf(web.urlOf('/disk.raw'))).resolves.toContain(reason);
  });

  it('is refused when it is empty or too large, announced or not (CRE-10)', async () => {
    const maxBytes = MIB;
    web.files.set('/empty.raw', { bytes: Buffer.alloc(0) });
    web.files.set('/large.raw', { bytes: Buffer.alloc(MIB + 1) });
    web.files.set('/endless.raw', { bytes: Buffer.alloc(2 * MIB), hideLength: true });
    await expect(refusalOf(web.urlOf('/empty.raw'))).resolves.toBe('IMG.0057 the file is empty');
    await expect(refusalOf(web.urlOf('/large.raw'), { maxBytes })).resolves.toContain('IMG.0059');
    await expect(refusalOf(web.urlOf('/endless.raw'), { maxBytes })).resolves.toContain('IMG.0059');
    web.files.set('/crowded.raw', { bytes: Buffer.alloc(65 * MIB) });
    await expect(fetchFile(web.urlOf('/crowded.raw'), { maxBytes: 100 * MIB })).rejects.toBeInstanceOf(
      StagingFullError,
    );
  });
});

describe('a name of the web', () => {
  const secret = { bytes: Buffer.from('for insiders') };

  it('is looked up once, and the connection goes where that led', async () => {
    web.files.set('/disk.raw', { bytes: Buffer.from('for all') });
    inside.files.set('/disk.raw', secret);
    // A name that means another host each time it is asked for.
    const answers = [[ALLOWED], [FORBIDDEN]];
    const resolve = async (name: string) => {
      lookups.push(name);
      return answers.shift() ?? [FORBIDDEN];
    };
    const bytes = await fetchFile(web.urlOf('/disk.raw', 'rebinding.example.test'), { resolve });
    expect(bytes.toString()).toBe('for all');
    expect(lookups).toEqual(['rebinding.example.test']);
    expect(inside.requests).toEqual([]);
  });

  it.each([
    ['one address is not public', [ALLOWED, FORBIDDEN]],
    ['no address is public', ['10.0.0.1', '192.168.0.1']],
    ['it stands for the metadata service', ['169.254.169.254']],
    ['it stands for a mapped address', ['::ffff:127.0.0.3']],
    ['it stands for nothing', []],
  ])('is refused when %s', async (_what, addresses) => {
    names['odd.example.test'] = addresses;
    await expect(refusalOf(web.urlOf('/disk.raw', 'odd.example.test'))).resolves.toContain('IMG.0057 ');
    expect([...web.requests, ...inside.requests]).toEqual([]);
  });

  it('is followed through redirections, each of them checked', async () => {
    const bytes = randomBytes(1000);
    names['elsewhere.example.test'] = [ALLOWED];
    names['inside.example.test'] = [FORBIDDEN];
    web.files.set('/there', { bytes });
    inside.files.set('/there', secret);
    const to =
      (location: string): WebHandler =>
      (_request, response) =>
        response.writeHead(302, { location }).end();
    web.handlers.set('/relative', to('/there'));
    web.handlers.set('/absolute', to(web.urlOf('/there', 'elsewhere.example.test')));
    web.handlers.set('/to-name', to(inside.urlOf('/there', 'inside.example.test')));
    web.handlers.set('/to-address', to(inside.urlOf('/there')));
    web.handlers.set('/to-file', to('file:///etc/passwd'));
    web.handlers.set('/to-port', to('http://files.example.test:22/'));
    web.handlers.set('/to-user', to(`http://user@files.example.test:${web.port}/there`));
    web.handlers.set('/round', to('/round'));
    expect((await fetchFile(web.urlOf('/relative'))).equals(bytes)).toBe(true);
    expect((await fetchFile(web.urlOf('/absolute'))).equals(bytes)).toBe(true);
    for (const path of ['/to-name', '/to-address', '/to-file', '/to-port', '/to-user'])
      await expect(refusalOf(web.urlOf(path))).resolves.toContain('IMG.0057');
    expect(inside.requests).toEqual([]);
    web.requests.length = 0;
    await expect(refusalOf(web.urlOf('/round'))).resolves.toContain('more than 5 redirections');
    expect(web.requests).toHaveLength(6);
  });

  it('leads to the next address when the first does not answer', async () => {
    // Nobody listens there.
    names['two.example.test'] = ['127.0.0.4', ALLOWED];
    web.files.set('/disk.raw', { bytes: Buffer.from('abc') });
    const rules = new WebRules({ ports: [web.port], allow: [ALLOWED, '127.0.0.4'] });
    expect((await fetchFile(web.urlOf('/disk.raw', 'two.example.test'), { rules })).toString()).toBe('abc');
  });
});
