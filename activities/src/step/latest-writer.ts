/** Writes states one after the other, at most one in `everyMs`; of those that come faster the last one is written when its time has come. */
export class LatestWriter<State> {
  private waiting: State | undefined;
  private timer: NodeJS.Timeout | undefined;
  private writing: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly everyMs: number,
    private readonly write: (state: State) => Promise<unknown>,
  ) {}

  put(state: State): void {
    this.waiting = state;
    if (this.timer === undefined) this.next();
  }

  /** Drops what waits and resolves when nothing is written any more. */
  async settle(): Promise<void> {
    this.waiting = undefined;
    clearTimeout(this.timer);
    await this.writing;
  }

  private next(): void {
    this.timer = undefined;
    const state = this.waiting;
    if (state === undefined) return;
    this.waiting = undefined;
    this.writing = this.writing.then(() => this.write(state));
    this.timer = setTimeout(() => this.next(), this.everyMs);
  }
}
