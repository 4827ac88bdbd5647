import { CancellationScope, log, setCurrentDetails } from '@temporalio/workflow';

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

  /** The step under way, or the last one begun. */
  get currentStep(): Step | null {
    return this.#current ?? null;
  }

  async step<T>(name: Step, forward: () => Promise<T>, undo?: () => Promise<unknown>): Promise<T> {
    this.#current = name;
    if (undo) this.#undos.push({ step: name, run: undo });
    setCurrentDetails(this.#describe(`in step **${name}**`));
    return forward();
  }

  /** Called once after the last step. */
  done(): void {
    this.#current = undefined;
    setCurrentDetails(this.#describe('done'));
  }

  /** Newest undo first, none skipped because another one failed; cancellation does not reach into it. */
  async unwind<T>(conclude: () => Promise<T>): Promise<T> {
    return CancellationScope.nonCancellable(async () => {
      setCurrentDetails(this.#describe(`undoing, after **${this.#current ?? 'the start'}** did not complete`));
      for (const undo of this.#undos.reverse()) {
        try {
          await undo.run();
        } catch (err) {
          // Whatever this undo left behind is found by the audit of the store; the others must still run.
          log.error('undo failed', { step: undo.step, error: String(err) });
        }
      }
      const concluded = await conclude();
      setCurrentDetails(this.#describe('undone'));
      return concluded;
    });
  }

  #describe(state: string): string {
    const at = this.#current === undefined ? this.steps.length : this.steps.indexOf(this.#current);
    const lines = this.steps.map((step, i) => `- ${i < at ? '✓' : i === at ? '▸' : ' '} ${step}`);
    return `**${this.title}**: ${state}\n\n${lines.join('\n')}`;
  }
}
