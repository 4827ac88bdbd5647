/** Lets a bounded number of tasks run at once; the others wait in the order they came. */
export class Turns {
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly limit: number) {}

  /** Runs `task` when its turn comes. Throws the reason of `signal` when that aborts first. */
  async take<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    if (this.running >= this.limit) await this.wait(signal);
    else this.running += 1;
    try {
      return await task();
    } finally {
      const next = this.waiting.shift();
      // The turn is handed over, so nobody who comes now can get in between.
      if (next === undefined) this.running -= 1;
      else next();
    }
  }

  private wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const start = (): void => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      const onAbort = (): void => {
        this.waiting.splice(this.waiting.indexOf(start), 1);
        reject(signal.reason instanceof Error ? signal.reason : new DOMException('aborted', 'AbortError'));
      };
      this.waiting.push(start);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }
}
