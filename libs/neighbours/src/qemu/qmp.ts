import { connect, type Socket } from 'node:net';
import { z } from 'zod';

const answer = z.object({
  id: z.number().optional(),
  return: z.unknown().optional(),
  error: z.object({ desc: z.string() }).optional(),
});

// QEMU answers from its main loop; a machine that is so loaded that this takes longer is not going to get better by waiting.
const ANSWER_TIMEOUT_MS = 20_000;

/** One connection to a machine's QMP socket (https://www.qemu.org/docs/master/interop/qmp-spec.html). */
export class Qmp {
  private nextId = 1;
  private buffered = '';
  private readonly pending = new Map<number, { resolve(): void; reject(error: Error): void }>();

  private constructor(private readonly socket: Socket) {
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.receive(text));
    const lost = (): void => this.fail(new Error('the virtual machine has ended'));
    socket.on('error', lost);
    socket.on('close', lost);
  }

  /** @throws Error while nobody listens there yet */
  static async connect(socketPath: string): Promise<Qmp> {
    const socket = connect(socketPath);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    const qmp = new Qmp(socket);
    await qmp.execute('qmp_capabilities');
    return qmp;
  }

  /** @throws Error when QEMU refuses or does not answer */
  async execute(command: 'qmp_capabilities' | 'stop' | 'cont' | 'system_powerdown' | 'quit'): Promise<void> {
    const id = this.nextId++;
    const timeout = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    await new Promise<void>((resolve, reject) => {
      this.pending.set(id, { resolve, reject });
      timeout.addEventListener('abort', () => reject(new Error(`QEMU does not answer ${command}`)), { once: true });
      this.socket.write(`${JSON.stringify({ execute: command, id })}\n`);
    }).finally(() => this.pending.delete(id));
  }

  close(): void {
    this.socket.destroy();
  }

  private receive(text: string): void {
    const lines = (this.buffered + text).split('\n');
    this.buffered = lines.pop() ?? '';
    for (const line of lines) {
      if (line.trim() === '') continue;
      const message = answer.parse(JSON.parse(line));
      // The greeting and events have no id.
      const waiting = message.id === undefined ? undefined : this.pending.get(message.id);
      if (message.error !== undefined) waiting?.reject(new Error(`QEMU refuses: ${message.error.desc}`));
      else waiting?.resolve();
    }
  }

  private fail(error: Error): void {
    for (const { reject } of this.pending.values()) reject(error);
    this.pending.clear();
  }
}
