import { parentPort } from 'node:worker_threads';
import { runCopyLane } from './copy-lane';
import { runIngestLane } from './ingest-lane';
import { OwnerCalls } from './owner-calls';
import type { FromThread, ThreadFailure, ToThread, Work } from './thread-protocol';
import { runVerifyLane } from './verify-lane';

/** Entry of a worker thread. Lanes of several jobs may run here side by side; they take turns at every segment. */
class Task {
  private readonly abort = new AbortController();
  private readonly calls: OwnerCalls;

  constructor(
    private readonly id: number,
    private readonly send: (message: FromThread) => void,
  ) {
    this.calls = new OwnerCalls(id, this.abort.signal, send);
  }

  async run(work: Work): Promise<void> {
    try {
      switch (work.kind) {
        case 'ingest':
          await runIngestLane(work, this.calls.ask, this.abort.signal);
          break;
        case 'copy':
          await runCopyLane(work, this.calls.ask, this.abort.signal);
          break;
        case 'verify':
          await runVerifyLane(work, this.calls.ask, this.abort.signal);
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
    this.calls.answer(call, output);
  }

  cancel(): void {
    this.abort.abort();
  }
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
