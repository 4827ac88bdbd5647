import { activityInfo, ApplicationFailure } from '@temporalio/activity';
import { crashAfter, failAfter, failBefore, type Fault, type FaultPlan, twice } from './faults';

export type Outcome = 'succeeded' | 'failed' | 'cancelled';

export interface SagaUnderTest {
  /** Accepts a fresh job with these faults planned and starts it; resolves with its id. */
  submit(plan: FaultPlan): Promise<string>;
  /** Resolves when the job has ended and its workflow too. */
  settle(jobId: string): Promise<Outcome>;
  /** Calls of a planned activity. */
  hits(jobId: string, activity: string): number;
  /** Asks the engine alone to cancel, as a click in its console does. */
  cancelInEngine(jobId: string): Promise<void>;
  /** Records the cancellation as the API does, and tells the engine nothing. */
  cancelInLog(jobId: string): Promise<void>;
  /** Records a pause, or its end, as the API does. */
  pauseInLog(jobId: string, isPaused: boolean): Promise<void>;
  /** Fails unless a job that ended so left exactly what its outcome calls for. */
  cleanSlate(jobId: string, outcome: Outcome): Promise<void>;
  /** Checks what is true of the whole system once all jobs have ended: store, event log, engine. */
  cleanSystem(): Promise<void>;
}

export interface SagaShape {
  name: string;
  /** The activity of each step, in order. */
  steps: readonly string[];
  /** Steps that the laws go over, all when left out: those that another saga's laws go over already need no second look. */
  only?: readonly string[];
  /** Each undo, and the step whose failure makes it run. */
  undos: readonly { undo: string; failAt: string }[];
  /** Its jobs go on to their end, whoever asks them to stop. */
  isFinal?: boolean;
  /** Its jobs can be made to wait; all but final ones when left out. */
  isPausable?: boolean;
}

interface Law {
  name: string;
  plan(saga: SagaUnderTest): FaultPlan;
  /** The activity that must have been reached. */
  reached?: string;
  outcomes: readonly Outcome[];
}

function lawsOf({ steps, only = steps, undos, isFinal = false, isPausable = !isFinal }: SagaShape): Law[] {
  const one = (activity: string, fault: Fault): FaultPlan => ({ [activity]: fault });
  return [
    { name: 'succeeds when nothing goes wrong', plan: () => ({}), outcomes: ['succeeded'] },
    ...only.flatMap((step): Law[] => [
      { name: `step ${step} may run twice`, plan: () => one(step, twice), reached: step, outcomes: ['succeeded'] },
      {
        name: `failure before ${step} unwinds`,
        plan: () => one(step, failBefore),
        reached: step,
        outcomes: ['failed'],
      },
      {
        name: `failure after the effect of ${step} unwinds`,
        plan: () => one(step, failAfter),
        reached: step,
        // With the last step's effect the job has succeeded, and that never changes again (I12).
        outcomes: step === steps.at(-1) ? ['succeeded'] : ['failed'],
      },
      {
        name: `death after the effect of ${step} and before its result changes nothing`,
        plan: () => one(step, crashAfter),
        reached: step,
        outcomes: ['succeeded'],
      },
      {
        name: `cancellation in the engine during ${step} leaves all or nothing`,
        plan: (saga) =>
          one(
            step,
            cancelling((id) => saga.cancelInEngine(id)),
          ),
        reached: step,
        // The last step cannot be cancelled any more; one before it may end before the cancellation arrives.
        outcomes: isFinal ? ['succeeded'] : steps.slice(-2).includes(step) ? ['succeeded', 'cancelled'] : ['cancelled'],
      },
      {
        name: `cancellation recorded during ${step} leaves all or nothing`,
        plan: (saga) =>
          one(
            step,
            cancelling((id) => saga.cancelInLog(id)),
          ),
        reached: step,
        outcomes: [isFinal ? 'succeeded' : 'cancelled'],
      },
    ]),
    ...undos.map(({ undo, failAt }): Law => ({
      name: `undo ${undo} may run twice`,
      plan: () => ({ [failAt]: failBefore, [undo]: twice }),
      reached: undo,
      outcomes: ['failed'],
    })),
    ...undos.map(({ undo, failAt }): Law => ({
      name: `death after the effect of undo ${undo} changes nothing`,
      plan: () => ({ [failAt]: failBefore, [undo]: crashAfter }),
      reached: undo,
      outcomes: ['failed'],
    })),
    // One job for all steps, each of which costs it the second after which a paused step is tried again, and its place in the queue: it comes last,
    // when the others leave it room.
    ...(isPausable
      ? [
          {
            name: 'paused before each step and resumed, it succeeds once',
            plan: (saga: SagaUnderTest) => Object.fromEntries(only.map((step) => [step, pausing(saga)])),
            outcomes: ['succeeded'] as const,
          },
        ]
      : []),
  ];
}

const cancelling =
  (cancel: (jobId: string) => Promise<void>): Fault =>
  async ({ real, call, jobId }) => {
    if (call === 1) await cancel(jobId);
    return real();
  };

/**
 * The first call finds its job paused and must do nothing; its next attempt finds it resumed. Attempts tell, not calls: the children of a job may do
 * one step side by side, each for a part of it.
 */
function pausing(saga: SagaUnderTest): Fault {
  const done = new Set<string>();
  return async ({ real, call, jobId }) => {
    const { attempt, activityId, workflowExecution } = activityInfo();
    if (call === 1) {
      await saga.pauseInLog(jobId, true);
      await real();
      throw ApplicationFailure.create({ message: 'a step of a paused job ran', nonRetryable: true });
    }
    // A job that runs already is left as it is. Every later attempt says so: a first one that was taken for dead may have paused it late.
    if (attempt > 1) await saga.pauseInLog(jobId, false);
    const result = await real();
    const self = `${workflowExecution?.workflowId}/${activityId}`;
    if (done.has(self)) throw ApplicationFailure.create({ message: 'the step ran twice', nonRetryable: true });
    done.add(self);
    return result;
  };
}

/**
 * The laws every saga obeys, whatever it does. All jobs run side by side, started before the first test; each test then looks at its own.
 */
export function describeSagaLaws(shape: SagaShape, sagaOf: () => SagaUnderTest): void {
  describe(`saga laws of ${shape.name}`, () => {
    const laws = lawsOf(shape);
    const jobs = new Map<string, { jobId: string; outcome: Promise<Outcome> }>();

    beforeAll(async () => {
      const saga = sagaOf();
      for (const law of laws) {
        const jobId = await saga.submit(law.plan(saga));
        const outcome = saga.settle(jobId);
        // The test that owns the job reports its failure.
        outcome.catch(() => undefined);
        jobs.set(law.name, { jobId, outcome });
      }
    }, 120_000);

    it.each(laws)('$name', async ({ name, reached, outcomes }) => {
      const job = jobs.get(name);
      if (!job) throw new Error(`no job for ${name}`);
      const outcome = await job.outcome;
      if (reached !== undefined) expect(sagaOf().hits(job.jobId, reached)).toBeGreaterThan(0);
      expect(outcomes).toContain(outcome);
      await sagaOf().cleanSlate(job.jobId, outcome);
    });

    it('leaves a clean system behind', async () => {
      await Promise.allSettled([...jobs.values()].map((job) => job.outcome));
      await sagaOf().cleanSystem();
    });
  });
}
