import { EvolutionError, isStepEvent, type PastEvent, subjectOf } from './evolve';

/** What a job is, as far as events say; named as its row is, which says the same (invariant I5). Times are RFC 3339. */
export interface JobState {
  id: string;
  project_id: string;
  type: string;
  saga: string;
  status: 'INIT' | 'RUNNING' | 'SUCCESS' | 'FAIL';
  outcome: 'succeeded' | 'failed' | 'cancelled' | null;
  image_id: string | null;
  image_name: string;
  request: unknown;
  steps: string[];
  parent_id: string | null;
  current_step: string | null;
  epoch: number;
  cancel_reason: string | null;
  paused_at: string | null;
  pauses: number;
  error_code: string | null;
  fail_reason: string | null;
  begin_at: string;
  end_at: string | null;
  /** What became of its steps, by their name. */
  step_states: Record<string, JobStepState>;
}

export interface JobStepState {
  state: 'completed' | 'undone';
  output: unknown;
  completed_at: string | null;
  undone_at: string | null;
}

/**
 * A job after one more event of its stream: the fold of a whole stream is the job as it is, that of a beginning of it the job as it was. Events of
 * other streams change nothing.
 *
 * @throws EvolutionError an event that cannot follow
 */
export function evolveJob(state: JobState | undefined, event: PastEvent): JobState | undefined {
  const at = event.occurredAt.toISOString();
  if (event.type === 'job.accepted') {
    if (state !== undefined) throw new EvolutionError(event, 'it was accepted before');
    const { data } = event;
    return {
      id: subjectOf(event.streamId),
      project_id: event.projectId,
      type: data.jobType,
      saga: data.saga,
      status: 'INIT',
      outcome: null,
      image_id: data.imageId,
      image_name: data.imageName,
      request: data.request ?? null,
      steps: data.steps,
      parent_id: data.parentJobId ?? null,
      current_step: null,
      epoch: 1,
      cancel_reason: null,
      paused_at: null,
      pauses: 0,
      error_code: null,
      fail_reason: null,
      begin_at: at,
      end_at: null,
      step_states: {},
    };
  }
  if (isStepEvent(event)) return evolveStep(begun(state, event), event);
  // Terminal states never change (I12); what may still come after them is recorded and changes nothing.
  const open = (): JobState => {
    const job = begun(state, event);
    if (job.outcome !== null) throw new EvolutionError(event, `the job has ${job.outcome}`);
    return job;
  };
  switch (event.type) {
    case 'job.started': {
      const job = open();
      return { ...job, status: 'RUNNING', current_step: job.current_step ?? job.steps[0] ?? null };
    }
    case 'job.cancel-requested': {
      const job = begun(state, event);
      return job.outcome === null ? { ...job, cancel_reason: event.data.reason } : job;
    }
    case 'job.paused': {
      const job = open();
      if (job.paused_at !== null) throw new EvolutionError(event, 'it is paused already');
      return { ...job, paused_at: at, pauses: job.pauses + 1 };
    }
    case 'job.resumed': {
      const job = open();
      if (job.paused_at === null) throw new EvolutionError(event, 'it is not paused');
      return { ...job, paused_at: null };
    }
    case 'job.restarted': {
      const job = open();
      if (event.data.epoch <= job.epoch) throw new EvolutionError(event, `the job is in epoch ${job.epoch}`);
      return { ...job, epoch: event.data.epoch };
    }
    case 'job.succeeded':
      return {
        ...open(),
        status: 'SUCCESS',
        outcome: 'succeeded',
        image_id: event.data.imageId,
        end_at: at,
        paused_at: null,
      };
    case 'job.failed': {
      const job = open();
      return {
        ...job,
        status: 'FAIL',
        outcome: 'failed',
        error_code: event.data.errorCode,
        fail_reason: event.data.reason,
        end_at: at,
        paused_at: null,
        current_step: event.data.step ?? job.current_step,
      };
    }
    case 'job.cancelled':
      return {
        ...open(),
        status: 'FAIL',
        outcome: 'cancelled',
        fail_reason: event.data.reason,
        end_at: at,
        paused_at: null,
      };
    default:
      return state;
  }
}

function begun(state: JobState | undefined, event: PastEvent): JobState {
  if (state === undefined) throw new EvolutionError(event, 'there is no job yet');
  return state;
}

function evolveStep(job: JobState, event: Extract<PastEvent, { data: { step: unknown } }>): JobState {
  const at = event.occurredAt.toISOString();
  const step = String(event.data.step);
  const before = job.step_states[step];
  const isOpen = job.outcome === null;
  if ('output' in event.data) {
    if (!isOpen) throw new EvolutionError(event, `the job has ${job.outcome}`);
    const completed = { state: 'completed', output: event.data.output, completed_at: at, undone_at: null } as const;
    // The step now being worked at is the next of the list; after the last one it stays.
    const place = job.steps.indexOf(step);
    const next = place === -1 ? undefined : job.steps[place + 1];
    return { ...job, current_step: next ?? step, step_states: { ...job.step_states, [step]: completed } };
  }
  // An undo is registered before its step runs, so there may be nothing that was completed.
  const undone = {
    output: before?.output ?? null,
    completed_at: before?.completed_at ?? null,
    state: 'undone',
    undone_at: at,
  } as const;
  // A job that was closed from outside is unwound after its end, which then stays as it is.
  return { ...job, ...(isOpen ? { current_step: step } : {}), step_states: { ...job.step_states, [step]: undone } };
}
