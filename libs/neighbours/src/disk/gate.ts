/**
 * Many may be inside at once; `close` waits until all have left and keeps everybody out until it is opened again. Whoever is inside must not
 * enter again: it would wait for itself.
 */
export class Gate {
  private inside = 0;
  private isClosed = false;
  private waiting: (() => void)[] = [];
  private whenEmpty: (() => void) | undefined;

  async pass<T>(work: () => Promise<T>): Promise<T> {
    while (this.isClosed) await new Promise<void>((resolve) => this.waiting.push(resolve));
    this.inside += 1;
    try {
      return await work();
    } finally {
      this.inside -= 1;
      if (this.inside === 0) this.whenEmpty?.();
    }
  }

  /** Resolves, with the function that opens it again, when nobody is inside. */
  async close(): Promise<() => void> {
    while (this.isClosed) await new Promise<void>((resolve) => this.waiting.push(resolve));
    this.isClosed = true;
    if (this.inside > 0) await new Promise<void>((resolve) => (this.whenEmpty = resolve));
    this.whenEmpty = undefined;
    return () => {
      this.isClosed = false;
      const waiting = this.waiting;
      this.waiting = [];
      for (const wake of waiting) wake();
    };
  }
}

/** One at a time per key, in the order of asking. */
export class KeyedTurns<K> {
  private readonly last = new Map<K, Promise<unknown>>();

  async take<T>(key: K, work: () => Promise<T>): Promise<T> {
    const before = this.last.get(key);
    // The outcome of the one before is its caller's business.
    const turn = before === undefined ? work() : before.then(work, work);
    this.last.set(key, turn);
    try {
      return await turn;
    } finally {
      if (this.last.get(key) === turn) this.last.delete(key);
    }
  }
}
