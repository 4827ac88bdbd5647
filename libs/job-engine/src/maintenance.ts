import type { EngineLog, JobStarter } from './job-starter';
import type { Reconciler } from './reconciler';

export interface MaintenanceTask {
  name: string;
  everyMs: number;
  run(): Promise<unknown>;
}

/** The relay and the reconciler as tasks; they live outside the engine because they are what survives its loss. */
export function engineTasks(starter: JobStarter, reconciler: Reconciler): MaintenanceTask[] {
  return [
    { name: 'relay', everyMs: 1_000, run: () => starter.relay() },
    { name: 'reconcile', everyMs: 5_000, run: () => reconciler.pass() },
    // Nothing waits for a digest; it only must not stay away.
    { name: 'reconcile-digests', everyMs: 15_000, run: () => reconciler.restartDigests() },
  ];
}

/** Runs tasks for the life of the process; a task never overlaps itself, and a failing one is tried again at its next turn. */
export class Maintenance {
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #running = new Set<Promise<unknown>>();
  #stopped = false;

  constructor(
    private readonly tasks: readonly MaintenanceTask[],
    private readonly log: EngineLog,
  ) {}

  start(): void {
    for (const task of this.tasks) this.#schedule(task);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    await Promise.allSettled(this.#running);
  }

  #schedule(task: MaintenanceTask): void {
    if (this.#stopped) return;
    this.#timers.set(
      task.name,
      setTimeout(() => {
        const run: Promise<unknown> = task
          .run()
          .catch((err: unknown) => this.log.warn({ task: task.name, error: String(err) }, 'maintenance task failed'))
          .finally(() => {
            this.#running.delete(run);
            this.#schedule(task);
          });
        this.#running.add(run);
      }, task.everyMs),
    );
  }
}
