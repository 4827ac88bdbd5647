import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { ERRORS, ImsError, isErrorCode } from '@ims/contract';
import { StoredBytesDamagedError } from '../errors';
import type {
  FromThread,
  OwnerCall,
  OwnerHandlers,
  OwnerMethod,
  ThreadFailure,
  ToThread,
  Work,
} from './thread-protocol';

// The compiled entry: beside this file's package in `dist`, also when this file itself runs from `src`.
const THREAD_ENTRY = join(__dirname, '..', '..', 'dist', 'threads', 'store-thread.js');
// An idle thread holds tens of MiB of buffers that nobody collects; starting one again takes 0.1 to 0.3 s.
const IDLE_MS = 10_000;
// Compressed and decoded frames are garbage within milliseconds, and their bytes lie outside the heap, where a collection of the young is all
// that frees them. With V8's own 48 MiB each thread would let 60 MiB more pile up before it (measured); this costs no throughput.
const YOUNG_GENERATION_MIB = 3;

/** An error that a thread ran into. `name` and `code` are those of the original. */
export class ThreadError extends Error {
  readonly code: string | undefined;
  constructor(failure: ThreadFailure) {
    super(failure.message);
    this.name = failure.name;
    this.code = failure.code;
    if (failure.stack !== undefined) this.stack = failure.stack;
  }
}

/** Errors lose their class on the way out of a thread; those that callers tell by class get it back. */
function revived(failure: ThreadFailure): Error {
  const cause = new ThreadError(failure);
  if (failure.name === 'StoredBytesDamagedError') return new StoredBytesDamagedError(failure.message, { cause });
  const { code = '' } = failure;
  if (failure.name !== 'ImsError' || !isErrorCode(code)) return cause;
  // The detail is what follows the listed text.
  return new ImsError(code, failure.message.replace(`${ERRORS[code].message}: `, ''));
}

interface RunningTask {
  handlers: OwnerHandlers;
  resolve(): void;
  reject(error: unknown): void;
  /** First error of a handler; it wins over what the thread makes of it. */
  failure: { error: unknown } | undefined;
  /** Handlers under way. The task has not ended before they have: a cancelled job must not go on writing rows. */
  readonly answering: Set<Promise<void>>;
}

/** Worker threads that are started when there is work and ended when there has been none for a while. */
export class StoreThreads {
  private readonly slots: StoreThread[];
  private nextSlot = 0;

  /** `threads`: how many at most; one per core is best (performance 2). */
  constructor(threads: number) {
    this.slots = Array.from({ length: threads }, () => new StoreThread());
  }

  get size(): number {
    return this.slots.length;
  }

  /**
   * Runs the lanes on different threads and resolves when all are done. When one fails the others are cancelled, and the first error is
   * thrown after all have ended. When `signal` aborts, all are cancelled and its reason is thrown.
   */
  async run(lanes: readonly Work[], handlers: OwnerHandlers, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const stop = new AbortController();
    const onAbort = (): void => stop.abort();
    signal.addEventListener('abort', onAbort, { once: true });
    let first: { error: unknown } | undefined;
    try {
      await Promise.all(
        lanes.map(async (work) => {
          try {
            await this.nextThread().run(work, handlers, stop.signal);
          } catch (error) {
            first ??= { error };
            stop.abort();
          }
        }),
      );
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
    signal.throwIfAborted();
    if (first !== undefined) throw first.error;
  }

  /** Ends all threads; what they were doing fails. */
  async close(): Promise<void> {
    await Promise.all(this.slots.map((thread) => thread.close()));
  }

  private nextThread(): StoreThread {
    const thread = this.slots[this.nextSlot % this.slots.length];
    this.nextSlot += 1;
    if (thread === undefined) throw new RangeError('the image store was given no threads');
    return thread;
  }
}

function keysOf(work: Work): ArrayBuffer[] {
  const domains = work.kind === 'copy' ? [work, work.from] : [work];
  return domains.flatMap(({ dataKey }) => (dataKey?.buffer instanceof ArrayBuffer ? [dataKey.buffer] : []));
}

class StoreThread {
  private worker: Worker | undefined;
  private readonly tasks = new Map<number, RunningTask>();
  private nextTask = 0;
  private idle: NodeJS.Timeout | undefined;

  run(work: Work, handlers: OwnerHandlers, signal: AbortSignal): Promise<void> {
    const task = this.nextTask;
    this.nextTask += 1;
    const worker = this.start();
    const onAbort = (): void => this.send(worker, { kind: 'cancel', task });
    const answering = new Set<Promise<void>>();
    return new Promise<void>((resolve, reject) => {
      this.tasks.set(task, { handlers, resolve, reject, failure: undefined, answering });
      this.send(worker, { kind: 'start', task, work });
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
    }).finally(async () => {
      await Promise.all(answering);
      signal.removeEventListener('abort', onAbort);
      this.tasks.delete(task);
      if (this.tasks.size === 0) this.rest();
    });
  }

  async close(): Promise<void> {
    clearTimeout(this.idle);
    const { worker } = this;
    this.worker = undefined;
    await worker?.terminate();
  }

  private start(): Worker {
    clearTimeout(this.idle);
    if (this.worker !== undefined) {
      this.worker.ref();
      return this.worker;
    }
    const worker = new Worker(THREAD_ENTRY, {
      name: 'image-store',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB },
    });
    this.worker = worker;
    worker.on('message', (message: FromThread) => this.receive(worker, message));
    worker.on('error', (error) => this.lost(worker, error));
    worker.on('exit', (code) => this.lost(worker, new Error(`image store thread ended with code ${code}`)));
    return worker;
  }

  // A thread without work must not keep the process alive.
  private rest(): void {
    this.worker?.unref();
    this.idle = setTimeout(() => void this.close(), IDLE_MS);
    this.idle.unref();
  }

  private lost(worker: Worker, error: unknown): void {
    if (this.worker === worker) this.worker = undefined;
    for (const task of this.tasks.values()) task.reject(error);
  }

  private receive(worker: Worker, message: FromThread): void {
    const task = this.tasks.get(message.task);
    if (task === undefined) return;
    switch (message.kind) {
      case 'call': {
        const answered = this.answer(worker, task, message).finally(() => task.answering.delete(answered));
        task.answering.add(answered);
        break;
      }
      case 'done':
        task.resolve();
        break;
      case 'failed':
        task.reject(task.failure === undefined ? revived(message.failure) : task.failure.error);
        break;
      default:
        message satisfies never;
    }
  }

  private async answer<M extends OwnerMethod>(worker: Worker, task: RunningTask, call: OwnerCall<M>): Promise<void> {
    const handler = task.handlers[call.method];
    try {
      if (handler === undefined) throw new TypeError(`image store thread asked for ${call.method}`);
      const output = await handler(call.input);
      this.send(worker, { kind: 'answer', task: call.task, call: call.call, output });
    } catch (error) {
      task.failure ??= { error };
      this.send(worker, { kind: 'cancel', task: call.task });
    }
  }

  private send(worker: Worker, message: ToThread): void {
    // Data keys move: no copy of one stays behind.
    worker.postMessage(message, message.kind === 'start' ? keysOf(message.work) : []);
  }
}
