import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectSocket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { temporaryDirectory, testDatabase, type TestDatabase } from '@ims/testing';

const MAIN = join(__dirname, '../dist/main.js');
const SECRET = 'secret-that-is-logged-nowhere';

interface Line {
  level: string;
  message: string;
  address?: string;
  request_id?: string;
  route?: string;
  status?: number;
}

let database: TestDatabase;
let child: ChildProcess;
let address: URL;
let output = '';
const lines: Line[] = [];
let onLine: (() => void) | undefined;

/** The first log line that fits, also one that was written already. */
async function line(fits: (line: Line) => boolean): Promise<Line> {
  for (;;) {
    const found = lines.find(fits);
    if (found !== undefined) return found;
    await new Promise<void>((resolve) => {
      onLine = resolve;
    });
  }
}

beforeAll(async () => {
  database = await testDatabase();
  child = spawn(process.execPath, [MAIN], {
    env: {
      PATH: process.env.PATH,
      IMS_DATABASE_URL: database.url,
      IMS_CLOUD_DIR: await temporaryDirectory(),
      IMS_STAGING_DIR: await temporaryDirectory(),
      IMS_STORE_DIR: await temporaryDirectory(),
      IMS_ROOT_KEY: randomBytes(32).toString('hex'),
      IMS_GATEWAY_PORT: '0',
      // Nobody listens there: the gateway starts and serves without an engine.
      IMS_TEMPORAL_ADDRESS: '127.0.0.1:1',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (child.stdout === null) throw new Error('no output');
  createInterface(child.stdout).on('line', (text) => {
    output += `${text}\n`;
    lines.push(JSON.parse(text) as Line);
    onLine?.();
  });
  address = new URL((await line(({ message }) => message === 'gateway ready')).address ?? '');
});
afterAll(async () => {
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  await database.drop();
});

describe('the gateway as a process', () => {
  it('is live and ready without an engine', async () => {
    expect((await fetch(new URL('/healthz', address))).status).toBe(200);
    const ready = await fetch(new URL('/readyz', address));
    expect([ready.status, await ready.json()]).toEqual([200, { status: 'ok', database: 'ok' }]);
  });

  it('logs a request by id and pattern, and no credential', async () => {
    const response = await fetch(new URL(`/v2/cloudimages?name=${SECRET}`, address), {
      headers: { 'X-Auth-Token': SECRET, Authorization: SECRET },
    });
    expect(response.status).toBe(401);
    const logged = await line(({ request_id: id }) => id === response.headers.get('x-request-id'));
    expect(logged).toMatchObject({ level: 'info', route: '/v2/cloudimages', status: 401 });
    expect(output).not.toContain(SECRET);
  });

  it('ends a request under way before it stops, and exits with 0', async () => {
    const body = JSON.stringify({ name: 'debian' });
    const socket = connectSocket(Number(address.port), address.hostname);
    await once(socket, 'connect');
    let answer = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => (answer += chunk));
    const head = `POST /v2/cloudimages/action HTTP/1.1\r\nHost: ims\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nExpect: 100-continue\r\n\r\n`;
    socket.write(head);
    // "100 Continue" says that the request has been taken.
    await once(socket, 'data');
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await line(({ message }) => message === 'gateway stopping');
    socket.write(body);
    await once(socket, 'close');
    expect(answer).toContain('HTTP/1.1 401 Unauthorized');
    expect(await exited).toEqual([0, null]);
    expect(lines.at(-1)?.message).toBe('gateway stopped');
  });
});
