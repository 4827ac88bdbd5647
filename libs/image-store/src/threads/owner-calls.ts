import type { FromThread, OwnerMethod, OwnerMethods } from './thread-protocol';

/** Calls of one task to the owner of its thread, and their answers. */
export class OwnerCalls {
  private readonly waiting = new Map<number, (output: unknown) => void>();
  private calls = 0;

  /** `signal` is that of the task: once it aborts no call is answered any more. */
  constructor(
    private readonly task: number,
    private readonly signal: AbortSignal,
    private readonly send: (message: FromThread) => void,
  ) {}

  /** Resolves with the owner's answer. Throws `AbortError` when the task is cancelled, also when it had been before. */
  readonly ask = <M extends OwnerMethod>(
    method: M,
    input: OwnerMethods[M]['input'],
  ): Promise<OwnerMethods[M]['output']> => {
    const cancelled = (): DOMException => new DOMException('cancelled', 'AbortError');
    // The owner tells of a call that failed by cancelling the task. It has done so already: nobody would ever answer this one.
    if (this.signal.aborted) return this.heeded(Promise.reject(cancelled()));
    const call = this.calls;
    this.calls += 1;
    const answer = new Promise<OwnerMethods[M]['output']>((resolve, reject) => {
      // The boundary of the thread: the owner answers a call with the output of its method and with nothing else.
      this.waiting.set(call, (output) => resolve(output as OwnerMethods[M]['output']));
      this.signal.addEventListener('abort', () => reject(cancelled()), { once: true });
    });
    this.send({ kind: 'call', task: this.task, call, method, input });
    return this.heeded(answer);
  };

  answer(call: number, output: unknown): void {
    this.waiting.get(call)?.(output);
    this.waiting.delete(call);
  }

  // A lane that has failed elsewhere no longer waits for it.
  private heeded<T>(answer: Promise<T>): Promise<T> {
    answer.catch(() => undefined);
    return answer;
  }
}
