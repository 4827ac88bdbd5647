import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { gzipSync } from 'node:zlib';
import { systemClock } from '@ims/db';
import { createPeers, type Peer } from './peer-client';

const JOB = { jobId: 'a'.repeat(32), epoch: 1 };

describe('whoever sits on the line to another region (S5)', () => {
  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  });

  const answering = async (listener: RequestListener): Promise<Peer> => {
    const server = createServer(listener).listen(0, '127.0.0.1');
    servers.push(server);
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('the server does not listen');
    const url = `http://127.0.0.1:${address.port}`;
    return createPeers('here', new Map([['there', { url, secret: 's'.repeat(32) }]]), systemClock).to('there');
  };

  it.each<[string, RequestListener]>([
    [
      'unpacks to a thousand times its length',
      (request, response) => {
        // Nobody who asks for bytes as they are may send others.
        expect(request.headers['accept-encoding']).toBe('identity');
        const body = gzipSync(Buffer.alloc(2 ** 26));
        response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': body.length }).end(body);
      },
    ],
    ['has no length', (_, response) => void response.writeHead(200).write('{')],
    [
      'is longer than any of its kind',
      (_, response) => void response.writeHead(200, { 'content-length': 2 ** 20 + 1 }).write('{'),
    ],
  ])('sends an answer in vain that %s', async (_, listener) => {
    const peer = await answering(listener);
    await expect(peer.show(JOB)).rejects.toThrow('its answer has no end');
  });

  it.each<[string, RequestListener]>([
    ['not signed', (_, response) => void response.end('{}')],
    ['sent elsewhere', (_, response) => void response.writeHead(307, { location: 'http://127.0.0.1:1/' }).end()],
    ['cut off', (_, response) => void response.writeHead(200, { 'content-length': 10 }).end('{}')],
  ])('sends an answer in vain that is %s', async (_, listener) => {
    const peer = await answering(listener);
    await expect(peer.show(JOB)).rejects.toThrow('out of reach');
  });
});
