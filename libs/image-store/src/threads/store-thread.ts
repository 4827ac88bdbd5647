import { parentPort } from 'node:worker_threads';
import { runIngestLane } from './ingest-lane';
import type { AskOwner, FromThread, OwnerMethod, OwnerMethods, ThreadFailure, ToThread, Work } from './thread-protocol';
import { runVerifyLane } from './verify-lane';

/** Entry of a worker thread. Lanes of several jobs may run here side by side; they take turns at every segment. */
class Task {
  private readonly abort = new AbortController();
  private readonly waiting = new Map<number, (output: unknown) => void>();
  private calls = 0;

  constructor(
    private readonly id: number,
    private readonly send: (message: FromThread) => void,
  ) {}

  async run(work: Work): Promise<void> {
    try {
      switch (work.kind) {
        case 'ingest':
          await runIngestLane(work, this.ask, this.abort.signal);
          break;
        case 'verify':
          await runVerifyLane(work, this.ask, this.abort.signal);
          break;
        default:
          work satisfies never;
      }
      this.send({ kind: 'done', task: this.id });
    } catch (error) {
      this.send({ kind: 'failed', task: this.id, failure: failureOf(error) });
    }
  }

  answer(call: number, output: unknown): void {
    this.waiting.get(call)?.(output);
    this.waiting.delete(call);
  }

  cancel(): void {
    this.abort.abort();
  }

  private readonly ask: AskOwner = <M extends OwnerMethod>(method: M, input: OwnerMethods[M]['input']) => {
    const call = this.calls;
    this.calls += 1;
    const answer = new Promise<OwnerMethods[M]['output']>((resolve, reject) => {
      // The boundary of the thread: the owner answers a call with the output of its method and with nothing else.
      this.waiting.set(call, (output) => resolve(output as OwnerMethods[M]['output']));
      this.abort.signal.addEventListener('abort', () => reject(new DOMException('cancelled', 'AbortError')), {
        once: true,
      });
    });
    // A lane that has failed elsewhere no longer waits for it.
    answer.catch(() => undefined);
    this.send({ kind: 'call', task: this.id, call, method, input });
    return answer;
  };
}

function failureOf(error: unknown): ThreadFailure {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error), stack: undefined, code: undefined };
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  return { name: error.name, message: error.message, stack: error.stack, code };
}

if (parentPort !== null) {
  const port = parentPort;
  const tasks = new Map<number, Task>();
  port.on('message', (message: ToThread) => {
    switch (message.kind) {
      case 'start': {
        const task = new Task(message.task, (reply) => port.postMessage(reply));
        tasks.set(message.task, task);
        void task.run(message.work).finally(() => tasks.delete(message.task));
        break;
      }
      case 'answer':
        tasks.get(message.task)?.answer(message.call, message.output);
        break;
      case 'cancel':
        tasks.get(message.task)?.cancel();
        break;
      default:
        message satisfies never;
    }
  });
}
