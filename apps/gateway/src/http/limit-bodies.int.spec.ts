import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { fastify, type FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { acceptBodies, limitBodies } from './fastify-setup';

describe(limitBodies.name, () => {
  let instance: FastifyInstance;

  beforeAll(async () => {
    instance = fastify();
    acceptBodies(instance);
    limitBodies(instance, pino({ level: 'silent' }), 100);
    instance.put('/v2/images/:id/file', async (request) => {
      let bytes = 0;
      // The parser of octet streams hands on the stream itself.
      for await (const chunk of request.body as AsyncIterable<Buffer>) bytes += chunk.length;
      return `${bytes} bytes`;
    });
    instance.post('/v2/images', () => 'taken');
    await instance.listen({ host: '127.0.0.1', port: 0 });
  });
  afterAll(() => instance.close());

  /** Sends half of a body of two bytes; resolves with what comes back, sending the rest only once `more` does. */
  const dawdle = async (head: string, type: string, more?: Promise<unknown>): Promise<string> => {
    const { port } = instance.server.address() as AddressInfo;
    const socket = connect(port, '127.0.0.1');
    let answer = '';
    socket.on('data', (chunk) => (answer += chunk.toString()));
    socket.write(
      `${head} HTTP/1.1\r\nHost: a\r\nContent-Type: ${type}\r\nContent-Length: 2\r\nConnection: close\r\n\r\na`,
    );
    if (more !== undefined) {
      await more;
      socket.write('b');
    }
    await once(socket, 'close');
    return answer;
  };

  it('ends a request whose body does not come, with an answer, and leaves an upload the time it takes', async () => {
    const late = dawdle('POST /v2/images', 'application/json');
    // It has begun no later than the other one, and is not ended with it.
    const upload = dawdle('PUT /v2/images/x/file', 'application/octet-stream', late);
    expect(await late).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n[\s\S]*APIGW\.0201/);
    expect(await upload).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*2 bytes/);
  });
});
