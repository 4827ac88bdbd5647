import { activityInfo, cancellationSignal, CancelledFailure, heartbeat } from '@temporalio/activity';
import { jobId as toJobId, jobStream, type SagaName, type StepInput, stepKey, SYSTEM, undoKey } from '@ims/contract';
import { type AttemptNote, inTransaction, type Database } from '@ims/db';
import { appendEvents, findEvent, type EventContext, type NewEvent } from '@ims/event-log';
import type { Transaction } from 'kysely';
import type { ActivityPorts } from './ports';
import { jobCancelled, messageOf, staleEpoch, toFailure } from './failure';
import { jobPaused } from './job-paused';
import { pausedSince, PauseWatch } from './pause-watch';

export type StepPorts = Pick<ActivityPorts, 'db' | 'clock' | 'worker'>;

export interface StepRun {
  /** Aborted when the job is cancelled or paused; what is stored until then stays for the next attempt. */
  signal: AbortSignal;
  /** Shown in Temporal's pending activities and kept for the next attempt; sent at the next beat. */
  report(details: HeartbeatDetails): void;
  /** Evidence of this attempt alone (bytes written, …): never part of an event. */
  note(detail: Record<string, unknown>): void;
  /** What was noted so far and the row it belongs to; `undefined` when the attempt has none. */
  noted(): AttemptNote | undefined;
}

export interface HeartbeatDetails {
  step: string;
  bytesDone?: number;
  bytesTotal?: number;
  text: string;
}

// Four beats fit into the heartbeat timeout of 12 s (workflows/src/activity-options.ts).
const HEARTBEAT_EVERY_MS = 3_000;

interface StepSpec<Output> {
  name: string;
  saga: SagaName;
  input: StepInput & { projectId?: string };
  /** A job that cannot be called back goes on, whoever asked it to stop or to wait. */
  isFinal?: boolean;
  /** Must be safe to run twice. */
  effect(run: StepRun): Promise<Output>;
  /** Reads a recorded output back; a stored event is not trusted to have the type. */
  parse(output: unknown): Output;
  /** What else becomes true in the transaction of the step's event. */
  companions?(trx: Transaction<Database>, output: Output): Promise<NewEvent[]> | NewEvent[];
}

/**
 * One step of a job: looks its event up before the effect (there: returns the recorded output, no effect), does the effect, then writes event,
 * projection and companions in one transaction that also checks the fencing epoch (design 5).
 */
export async function runStep<Output>(ports: StepPorts, spec: StepSpec<Output>): Promise<Output> {
  return attempt(ports, { ...spec, waits: spec.isFinal !== true }, async (run) => {
    const stream = jobStream(toJobId(spec.input.jobId));
    const recorded = await findEvent(ports.db, stream, stepKey(spec.name));
    if (recorded) return spec.parse(recordedOutput(recorded.data));

    const job = await jobOf(ports.db, spec.input);
    if (spec.isFinal !== true && job.cancel_reason !== null) throw jobCancelled(job.cancel_reason);
    const output = await spec.effect(run);

    return inTransaction(ports.db, async (trx) => {
      const current = await lockJob(trx, spec.input);
      // Cancelled while the effect ran: the step does not count, its undo follows.
      if (spec.isFinal !== true && current.cancel_reason !== null) throw jobCancelled(current.cancel_reason);
      const companions = (await spec.companions?.(trx, output)) ?? [];
      const event = {
        stream,
        key: stepKey(spec.name),
        type: `${spec.saga}.step-completed`,
        data: { step: spec.name, output },
      };
      // The event schema of the catalogue checks the pair (step, output) on append.
      await appendEvents(trx, eventContext(current.project_id, spec), [event as NewEvent, ...companions]);
      return output;
    });
  });
}

interface UndoSpec {
  name: string;
  saga: SagaName;
  input: StepInput;
  effect(run: StepRun): Promise<void>;
  companions?(trx: Transaction<Database>): Promise<NewEvent[]> | NewEvent[];
}

/** The undo of a step: the same rules, its own event. A newer epoch stops it too: the newer execution undoes. */
export async function runUndo(ports: StepPorts, spec: UndoSpec): Promise<void> {
  await attempt(ports, { ...spec, name: undoKey(spec.name), waits: false }, async (run) => {
    const stream = jobStream(toJobId(spec.input.jobId));
    if (await findEvent(ports.db, stream, undoKey(spec.name))) return;
    // A job that has succeeded is past undoing, also when a cancellation reached its workflow in the very last moment (I12).
    if ((await jobOf(ports.db, spec.input)).outcome !== null) return;
    await spec.effect(run);
    await inTransaction(ports.db, async (trx) => {
      const job = await lockJob(trx, spec.input);
      const companions = (await spec.companions?.(trx)) ?? [];
      const event: NewEvent = {
        stream,
        key: undoKey(spec.name),
        type: `${spec.saga}.step-undone` as const,
        data: { step: spec.name },
      };
      await appendEvents(trx, eventContext(job.project_id, spec), [event, ...companions]);
    });
  });
}

/** Fails unless the step belongs to the job's current execution. */
export async function jobOf(db: StepPorts['db'], input: StepInput) {
  const job = await db
    .selectFrom('job')
    .select(['project_id', 'epoch', 'status', 'cancel_reason', 'outcome'])
    .where('id', '=', input.jobId)
    .executeTakeFirst();
  if (job?.epoch !== input.epoch) throw staleEpoch(input.jobId, input.epoch);
  return job;
}

export async function lockJob(trx: Transaction<Database>, input: StepInput) {
  const job = await trx
    .selectFrom('job')
    .select(['project_id', 'epoch', 'cancel_reason', 'outcome', 'image_id'])
    .where('id', '=', input.jobId)
    .forUpdate()
    .executeTakeFirst();
  if (job?.epoch !== input.epoch) throw staleEpoch(input.jobId, input.epoch);
  return job;
}

export function eventContext(projectId: string, spec: { name: string; input: StepInput }): EventContext {
  const info = activityInfo();
  return {
    projectId,
    actor: SYSTEM,
    jobId: spec.input.jobId,
    ...(info.workflowExecution
      ? { workflowId: info.workflowExecution.workflowId, runId: info.workflowExecution.runId }
      : {}),
    step: spec.name,
    attempt: info.attempt,
  };
}

function recordedOutput(data: unknown): unknown {
  return typeof data === 'object' && data !== null && 'output' in data ? data.output : undefined;
}

interface AttemptSpec {
  name: string;
  input: StepInput;
  /** It neither begins nor goes on while its job is paused. */
  waits: boolean;
}

/** Heartbeats, evidence of the attempt, and the one place where errors become failures. */
async function attempt<T>(ports: StepPorts, spec: AttemptSpec, body: (run: StepRun) => Promise<T>): Promise<T> {
  const info = activityInfo();
  if (spec.waits) await holdWhilePaused(ports, spec);
  let details: HeartbeatDetails = { step: spec.name, text: 'begun' };
  let noted: Record<string, unknown> = {};
  const beat = setInterval(() => heartbeat(details), HEARTBEAT_EVERY_MS);
  const evidence = await openAttempt(ports, spec, info);
  const pause = spec.waits ? new PauseWatch(ports.db, spec.input) : undefined;
  const cancellation = cancellationSignal();
  const run: StepRun = {
    signal: pause === undefined ? cancellation : AbortSignal.any([cancellation, pause.signal]),
    report: (next) => {
      details = next;
    },
    note: (detail) => {
      noted = { ...noted, ...detail };
    },
    noted: () => (evidence === undefined ? undefined : { id: evidence, detail: noted }),
  };
  try {
    const result = await body(run);
    await closeAttempt(ports, evidence, 'completed', noted);
    return result;
  } catch (err) {
    if (cancellation.aborted && isAbort(err)) {
      await closeAttempt(ports, evidence, 'cancelled', noted, err);
      throw cancellation.reason instanceof CancelledFailure ? cancellation.reason : new CancelledFailure('cancelled');
    }
    // Whatever an effect says once it was told to let go: it is safe to run twice, so a refusal will be said again.
    if (pause?.pausedAt != null) {
      await closeAttempt(ports, evidence, 'paused', noted);
      throw jobPaused(pause.pausedAt, ports.clock.now());
    }
    await closeAttempt(ports, evidence, 'failed', noted, err);
    throw toFailure(err, await failedAttempts(ports, spec, info));
  } finally {
    pause?.stop();
    clearInterval(beat);
  }
}

// What the database did not answer says nothing of the step, and without it no job can be ended either.
const NO_ATTEMPT_COUNTS = 1;

/** An attempt that finds its job paused is a look, not work: it leaves no evidence, and one that fails uses up no patience. */
async function holdWhilePaused(ports: StepPorts, spec: AttemptSpec): Promise<void> {
  let since: Date | null;
  try {
    since = await pausedSince(ports.db, spec.input);
  } catch (err) {
    throw toFailure(err, NO_ATTEMPT_COUNTS);
  }
  if (since !== null) throw jobPaused(since, ports.clock.now());
}

/**
 * How often the step has failed in this execution, this time included. The engine's own count has the looks at a paused job in it, which would
 * use up the patience with a failure before it came.
 */
async function failedAttempts(
  ports: StepPorts,
  spec: AttemptSpec,
  info: ReturnType<typeof activityInfo>,
): Promise<number> {
  try {
    const { failed } = await ports.db
      .selectFrom('step_attempt')
      .select(({ fn }) => fn.countAll<number>().as('failed'))
      .where('job_id', '=', spec.input.jobId)
      .where('step', '=', spec.name)
      .where('run_id', 'is not distinct from', info.workflowExecution?.runId ?? null)
      .where('outcome', '=', 'failed')
      .executeTakeFirstOrThrow();
    // Evidence that could not be written counts like none.
    return Math.min(info.attempt, Math.max(1, failed));
  } catch {
    return NO_ATTEMPT_COUNTS;
  }
}

const isAbort = (err: unknown): boolean =>
  err instanceof CancelledFailure ||
  (err instanceof Error && (err.name === 'AbortError' || err.name === 'CancelledFailure'));

/** Attempts are evidence, not state: a step must not fail because its evidence could not be written. */
async function openAttempt(
  ports: StepPorts,
  spec: { name: string; input: StepInput },
  info: ReturnType<typeof activityInfo>,
) {
  try {
    const row = await ports.db
      .insertInto('step_attempt')
      .values({
        job_id: spec.input.jobId,
        step: spec.name,
        attempt: info.attempt,
        run_id: info.workflowExecution?.runId ?? null,
        worker: ports.worker,
        started_at: ports.clock.now(),
      })
      .returning('id')
      .executeTakeFirst();
    return row?.id;
  } catch {
    // The database is out of reach; the step itself will say so in a moment.
    return undefined;
  }
}

async function closeAttempt(
  ports: StepPorts,
  id: number | undefined,
  outcome: 'completed' | 'failed' | 'cancelled' | 'paused',
  detail: Record<string, unknown>,
  err?: unknown,
): Promise<void> {
  if (id === undefined) return;
  try {
    await ports.db
      .updateTable('step_attempt')
      .set({
        ended_at: ports.clock.now(),
        outcome,
        error: err === undefined ? null : messageOf(err).slice(0, 2_000),
        detail: JSON.stringify(detail),
      })
      .where('id', '=', id)
      .execute();
  } catch {
    // As above: best effort. The row stays without an end, which is how a killed worker's attempt looks as well.
  }
}
