import { createServer as createHttp, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';

export interface WebFileUnderTest {
  bytes: Uint8Array;
  /** The version's name; without one the server cannot tell versions apart. */
  etag?: string;
  /** Bytes of each answer after which the connection is cut. */
  cutAfter?: number;
  /** Answers without saying how much there is. */
  hideLength?: boolean;
}

export type WebHandler = (request: IncomingMessage, response: ServerResponse) => unknown;

/** A server of files on loopback, with ranges and conditions as servers of the web have them, and faults on purpose. */
export class TestWebServer {
  readonly files = new Map<string, WebFileUnderTest>();
  readonly handlers = new Map<string, WebHandler>();
  /** Requests that arrived, in order. */
  readonly requests: { path: string; headers: IncomingMessage['headers'] }[] = [];

  private constructor(
    private readonly server: Server,
    readonly port: number,
    private readonly address: string,
    private readonly scheme: string,
  ) {}

  /** @param address any address of loopback; the whole of 127.0.0.0/8 is */
  static async start(address = '127.0.0.1', tls?: { key: string; cert: string }): Promise<TestWebServer> {
    const server = tls === undefined ? createHttp() : createHttps(tls);
    server.listen(0, address);
    await once(server, 'listening');
    // A server that listens on TCP has an address with a port.
    const { port } = server.address() as AddressInfo;
    const started = new TestWebServer(server, port, address, tls === undefined ? 'http' : 'https');
    server.on('request', (request: IncomingMessage, response: ServerResponse) => started.#answer(request, response));
    return started;
  }

  /** Address of a path, by the server's own address or by a name that leads to it. */
  urlOf(path: string, host = this.address): string {
    return `${this.scheme}://${host}:${this.port}${path}`;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? '/';
    this.requests.push({ path, headers: request.headers });
    const handler = this.handlers.get(path);
    const file = this.files.get(path);
    if (handler !== undefined) handler(request, response);
    else if (file !== undefined) this.#send(file, request, response);
    else response.writeHead(404).end();
  }

  #send({ bytes, etag, cutAfter, hideLength }: WebFileUnderTest, request: IncomingMessage, response: ServerResponse) {
    const [, from = ''] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? [];
    const ifRange = request.headers['if-range'];
    const offset = from !== '' && (ifRange === undefined || ifRange === etag) ? Number(from) : 0;
    if (etag !== undefined) response.setHeader('etag', etag);
    if (from !== '' && offset >= bytes.length) {
      response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end();
      return;
    }
    const rest = bytes.subarray(offset);
    if (hideLength !== true) response.setHeader('content-length', rest.length);
    if (offset > 0) response.setHeader('content-range', `bytes ${offset}-${bytes.length - 1}/${bytes.length}`);
    response.writeHead(offset > 0 ? 206 : 200);
    if (cutAfter === undefined || cutAfter >= rest.length) response.end(rest);
    else response.write(rest.subarray(0, cutAfter), () => response.socket?.destroy());
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    const closed = once(this.server, 'close');
    this.server.close();
    await closed;
  }
}
