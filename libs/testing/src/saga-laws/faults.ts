import { ApplicationFailure } from '@temporalio/activity';

export interface FaultCall {
  /** Runs the activity itself. */
  real(): Promise<unknown>;
  /** Calls of this activity for this job so far, this one included. */
  call: number;
  /** How often its effect was reached so far, this call included; a step that has to wait for something is called more often than that. */
  effects(): number;
  jobId: string;
}

/** What happens instead of a plain call of an activity. */
export type Fault = (call: FaultCall) => Promise<unknown>;
/** Faults by activity name, for one job. */
export type FaultPlan = Readonly<Record<string, Fault>>;

const onPurpose = (message: string): ApplicationFailure =>
  ApplicationFailure.create({ type: 'IMG.0061', message, nonRetryable: true });

/** Delivered twice: effect and event must be there once. */
export const twice: Fault = async ({ real }) => {
  await real();
  return real();
};

/** Fails for good before its effect. */
export const failBefore: Fault = () => Promise.reject(onPurpose('failed on purpose before the effect'));

/** Takes effect, is never heard of, and fails for good. */
export const failAfter: Fault = async ({ real }) => {
  await real();
  throw onPurpose('failed on purpose after the effect');
};

/** The worker dies after the effect and before the result is known; the engine tries again. */
export const crashAfter: Fault = async ({ real, effects }) => {
  const result = await real();
  if (effects() === 1) throw ApplicationFailure.create({ message: 'died after the effect' });
  return result;
};

type Activity = (input: never) => Promise<unknown>;

/** Activities with faults planned per job, so that many laws can run side by side in one worker. */
export class FaultyActivities {
  readonly activities: Record<string, Activity>;
  readonly #plans = new Map<string, { plan: FaultPlan; calls: Map<string, number>; effects: Map<string, number> }>();

  constructor(real: Record<string, Activity>) {
    this.activities = Object.fromEntries(
      Object.entries(real).map(([name, activity]) => [name, (input: never) => this.#call(name, activity, input)]),
    );
  }

  plan(jobId: string, plan: FaultPlan): void {
    this.#plans.set(jobId, { plan, calls: new Map(), effects: new Map() });
  }

  /** How often the job's planned activity was called; 0 means that a test proved nothing. */
  hits(jobId: string, activity: string): number {
    return this.#plans.get(jobId)?.calls.get(activity) ?? 0;
  }

  #call(name: string, activity: Activity, input: never): Promise<unknown> {
    const jobId = jobIdOf(input);
    const planned = jobId === undefined ? undefined : this.#plans.get(jobId);
    const fault = planned?.plan[name];
    if (jobId === undefined || planned === undefined || fault === undefined) return activity(input);
    const call = (planned.calls.get(name) ?? 0) + 1;
    planned.calls.set(name, call);
    const real = async (): Promise<unknown> => {
      const result = await activity(input);
      planned.effects.set(name, (planned.effects.get(name) ?? 0) + 1);
      return result;
    };
    return fault({ real, call, effects: () => planned.effects.get(name) ?? 0, jobId });
  }
}

function jobIdOf(input: unknown): string | undefined {
  if (typeof input !== 'object' || input === null || !('jobId' in input)) return undefined;
  return typeof input.jobId === 'string' ? input.jobId : undefined;
}
