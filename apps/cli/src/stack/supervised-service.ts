import { errorMessage } from '@ims/embedded';
import { setTimeout as pause } from 'node:timers/promises';

/** A part that runs now. */
export interface RunningPart {
  pid: number;
  exited: Promise<unknown>;
  stop(): Promise<void>;
}

export interface SupervisedOptions {
  name: string;
  /** Starts the part and resolves when it serves. */
  launch(): Promise<RunningPart>;
  /** After each change of the process: for the state file. */
  onChange(): void;
  onTrouble(message: string): void;
}

// A part that dies at once again (a full disk, say) must not turn the machine into a start loop; one that ran for a while is started at once.
const SHORT_LIFE_MS = 10_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

/** Keeps one part alive: whenever it ends without having been asked to, it is started again. */
export class SupervisedService {
  restarts = 0;
  private readonly closing = new AbortController();
  private watching: Promise<void> = Promise.resolve();

  private constructor(
    private readonly options: SupervisedOptions,
    private current: RunningPart,
  ) {}

  /** Resolves when the part serves; a failure of this first start is the caller's. */
  static async start(options: SupervisedOptions): Promise<SupervisedService> {
    const service = new SupervisedService(options, await options.launch());
    service.watching = service.watch();
    return service;
  }

  get name(): string {
    return this.options.name;
  }

  get pid(): number {
    return this.current.pid;
  }

  async stop(): Promise<void> {
    this.closing.abort();
    await this.current.stop();
    await this.watching;
    // A restart that was under way when the stop began has come up since.
    await this.current.stop();
  }

  private async watch(): Promise<void> {
    let pauseMs = 0;
    while (!this.closing.signal.aborted) {
      const startedAt = performance.now();
      await this.current.exited;
      if (this.closing.signal.aborted) return;
      this.options.onTrouble(`${this.name} (process ${this.current.pid}) ended by itself; starting it again`);
      pauseMs = performance.now() - startedAt > SHORT_LIFE_MS ? 0 : longer(pauseMs);
      await this.restart(pauseMs);
    }
  }

  private async restart(firstPauseMs: number): Promise<void> {
    for (let pauseMs = firstPauseMs; !this.closing.signal.aborted; pauseMs = longer(pauseMs)) {
      await pause(pauseMs, undefined, { signal: this.closing.signal }).catch(() => undefined);
      if (this.closing.signal.aborted) return;
      try {
        this.current = await this.options.launch();
        this.restarts += 1;
        this.options.onChange();
        return;
      } catch (error) {
        this.options.onTrouble(`${this.name} could not be started again: ${errorMessage(error)}`);
      }
    }
  }
}

function longer(pauseMs: number): number {
  return Math.min(LONGEST_PAUSE_MS, pauseMs === 0 ? FIRST_PAUSE_MS : pauseMs * 2);
}
