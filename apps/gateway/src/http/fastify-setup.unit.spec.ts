import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { LONGEST_DOWNLOAD_MS } from '@ims/contract';
import { fastify, type FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { z } from 'zod';
import { acceptBodies, limitBodies, observeRequests } from './fastify-setup';

const LIMIT_MS = 50;

let instance: FastifyInstance;

beforeEach(() => {
  instance = fastify();
  acceptBodies(instance);
  limitBodies(instance, pino({ level: 'silent' }), LIMIT_MS);
  instance.post('*', () => 'ok');
});
afterEach(() => instance.close());

const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;

describe(limitBodies.name, () => {
  it('cuts a body that is not there in time', async () => {
    await instance.listen({ port: 0, host: '127.0.0.1' });
    const socket = connect(Number(new URL(instance.listeningOrigin).port), '127.0.0.1');
    await once(socket, 'connect');
    socket.write('POST /v2/cloudimages/action HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{');
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('leaves nothing behind that could strike after the answer', async () => {
    const before = timers();
    const answer = await instance.inject({ method: 'POST', url: '/v2/cloudimages/action', payload: { a: 1 } });
    expect(answer.statusCode).toBe(200);
    expect(timers()).toBe(before);
  });
});

describe(observeRequests.name, () => {
  it.each([
    ['GET', '/v2/images/a/file', LONGEST_DOWNLOAD_MS],
    ['POST', '/v2/images/a/upload/complete', LONGEST_DOWNLOAD_MS],
    ['GET', '/v2/images/a', undefined],
  ] as const)('leaves %s %s the time that it needs', async (method, path, expected) => {
    const server = fastify();
    observeRequests(server, pino({ level: 'silent' }));
    server.route({ method, url: path, handler: (request) => ({ timeout: request.raw.socket.timeout ?? null }) });
    try {
      await server.listen({ port: 0, host: '127.0.0.1' });
      const answer = await fetch(`${server.listeningOrigin}${path}`, { method });
      const { timeout } = z.object({ timeout: z.number().nullable() }).parse(await answer.json());
      if (expected === undefined) expect(timeout).not.toBe(LONGEST_DOWNLOAD_MS);
      else expect(timeout).toBe(expected);
    } finally {
      await server.close();
    }
  });
});
