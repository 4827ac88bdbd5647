import { CancellationScope, log, proxyActivities, setCurrentDetails } from '@temporalio/workflow';
import type { ImsActivities } from '@ims/activities';
import { UNDO } from './activity-options';
import { type Refusal, refusalOf } from './failure';

/** The job, as its conclusion wants it: with the image that it makes, if it makes one. */
export type ConcludedJob = Omit<Parameters<ImsActivities['concludeJob']>[0], keyof Refusal | 'step' | 'leftBehind'>;

interface Undo {
  step: string;
  run: () => Promise<unknown>;
}

/**
 * Forward and undo side by side. The undo is registered before the forward call: a step that failed may still have taken effect,
 * so every undo accepts that there is nothing to undo.
 */
export class Saga<Step extends string> {
  readonly #undos: Undo[] = [];
  #current: Step | undefined;

  constructor(
    private readonly title: string,
    private readonly steps: readonly Step[],
  ) {}

  /**
   * Runs the steps to their end. When they do not get there, what was done is undone and the job concluded with the reason; the error goes on.
   * A job whose last step is recorded has succeeded, also when only the report of that step was lost: then the result is `recorded`.
   */
  async run<T>(job: ConcludedJob, recorded: T, steps: () => Promise<T>): Promise<T> {
    try {
      const result = await steps();
      this.#done();
      return result;
    } catch (err) {
      const outcome = await this.#unwind(job, refusalOf(err, CancellationScope.current().consideredCancelled));
      if (outcome === 'succeeded') return recorded;
      throw err;
    }
  }

  async step<T>(name: Step, forward: () => Promise<T>, undo?: () => Promise<unknown>): Promise<T> {
    this.#current = name;
    if (undo) this.#undos.push({ step: name, run: undo });
    setCurrentDetails(this.#describe(`in step **${name}**`));
    return forward();
  }

  #done(): void {
    this.#current = undefined;
    setCurrentDetails(this.#describe('done'));
  }

  /** Newest undo first, none skipped because another one failed; cancellation does not reach into it. */
  async #unwind(job: ConcludedJob, refusal: Refusal): Promise<string> {
    const step = this.#current ?? null;
    return CancellationScope.nonCancellable(async () => {
      setCurrentDetails(this.#describe(`undoing, after **${step ?? 'the start'}** did not complete`));
      const leftBehind: string[] = [];
      for (const undo of this.#undos.reverse()) {
        try {
          await undo.run();
        } catch (err) {
          // Whatever this undo left behind is found by the audit of the store, and the trail names it; the others must still run.
          leftBehind.push(undo.step);
          log.error('undo failed', { step: undo.step, error: String(err) });
        }
      }
      const { concludeJob } = proxyActivities<ImsActivities>(UNDO);
      const { outcome } = await concludeJob.executeWithOptions({ summary: 'Close the job' }, [
        { ...job, step, ...refusal, ...(leftBehind.length === 0 ? {} : { leftBehind }) },
      ]);
      setCurrentDetails(this.#describe('undone'));
      return outcome;
    });
  }

  #describe(state: string): string {
    const at = this.#current === undefined ? this.steps.length : this.steps.indexOf(this.#current);
    const lines = this.steps.map((step, i) => `- ${i < at ? '✓' : i === at ? '▸' : ' '} ${step}`);
    return `**${this.title}**: ${state}\n\n${lines.join('\n')}`;
  }
}
