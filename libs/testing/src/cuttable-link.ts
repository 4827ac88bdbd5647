import { once } from 'node:events';
import { createServer, type Server, Socket } from 'node:net';

/** Which way bytes still pass: a link that is cut one way swallows requests, or answers to requests that have arrived. */
export type Cut = 'none' | 'both' | 'there' | 'back';

/** A line between two addresses on this machine that can be cut, one way or both, and counts what passes (fault-matrix N1 to N4). */
export class CuttableLink {
  readonly #sockets = new Set<Socket>();
  #cut: Cut = 'none';
  #last = Infinity;
  /** Bytes that have passed, both ways. */
  passed = 0;

  private constructor(
    private readonly server: Server,
    private to: { host: string; port: number },
  ) {}

  /** Opens a line to an address; what is sent to `port` arrives there. */
  static async open(to: { host: string; port: number }): Promise<CuttableLink> {
    const server = createServer();
    const link = new CuttableLink(server, to);
    server.on('connection', (socket) => link.#join(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return link;
  }

  get port(): number {
    const address = this.server.address();
    if (address === null || typeof address === 'string') throw new Error('the link is closed');
    return address.port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Leads to another address from now on. */
  redirect(to: { host: string; port: number }): void {
    this.to = to;
  }

  /** `both` ends every connection and refuses new ones; one way, bytes vanish and connections stay. */
  cut(cut: Exclude<Cut, 'none'>): void {
    this.#cut = cut;
    if (cut === 'both') this.#endAll();
  }

  /** Cuts itself, both ways, when so many more bytes have passed: in the middle of whatever is on it then. */
  cutAfter(bytes: number): void {
    this.#last = this.passed + bytes;
  }

  get isCut(): boolean {
    return this.#cut !== 'none';
  }

  /** What waited in vain while the line was cut is ended: it would be half of something. */
  mend(): void {
    const wasCut = this.#cut !== 'none';
    this.#cut = 'none';
    if (wasCut) this.#endAll();
  }

  async close(): Promise<void> {
    this.#endAll();
    this.server.close();
    await once(this.server, 'close');
  }

  #endAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(near: Socket): void {
    if (this.#cut === 'both') {
      near.destroy();
      return;
    }
    const far = new Socket();
    far.connect(this.to);
    this.#pass(near, far, 'there');
    this.#pass(far, near, 'back');
  }

  #pass(from: Socket, to: Socket, way: 'there' | 'back'): void {
    this.#sockets.add(from);
    from.on('data', (chunk) => {
      if (this.#cut === way || this.#cut === 'both') return;
      this.passed += chunk.length;
      to.write(chunk);
      if (this.passed < this.#last) return;
      this.#last = Infinity;
      this.cut('both');
    });
    from.on('end', () => to.end());
    // A line that breaks breaks at both ends; who was talking learns it there.
    from.on('error', () => to.destroy());
    from.on('close', () => {
      this.#sockets.delete(from);
      to.destroy();
    });
  }
}
