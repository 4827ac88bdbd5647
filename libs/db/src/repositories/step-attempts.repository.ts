import type { Kysely, Selectable } from 'kysely';
import type { Database } from '../db-types';

export type StepAttemptRow = Selectable<Database['step_attempt']>;

/** Evidence of every attempt of a step: who tried, when, and how it ended. Facts are in the event log, this is beside it. */
export class StepAttemptsRepository {
  constructor(private readonly db: Kysely<Database>) {}

  /** Notes the beginning of an attempt and returns the id to end it by. */
  async begin(attempt: {
    jobId: string;
    step: string;
    attempt: number;
    runId?: string;
    worker: string;
    startedAt: Date;
  }): Promise<number> {
    const { id } = await this.db
      .insertInto('step_attempt')
      .values({
        job_id: attempt.jobId,
        step: attempt.step,
        attempt: attempt.attempt,
        run_id: attempt.runId ?? null,
        worker: attempt.worker,
        started_at: attempt.startedAt,
      })
      .returning('id')
      .executeTakeFirstOrThrow();
    return id;
  }

  /** Notes how the attempt ended; `detail` holds what is no fact of the step (bytes sent, retries inside). */
  async end(
    id: number,
    result: {
      outcome: 'completed' | 'failed' | 'cancelled' | 'paused';
      endedAt: Date;
      error?: string;
      detail?: unknown;
    },
  ): Promise<void> {
    await this.db
      .updateTable('step_attempt')
      .set({
        outcome: result.outcome,
        ended_at: result.endedAt,
        error: result.error ?? null,
        detail: result.detail === undefined ? null : JSON.stringify(result.detail),
      })
      .where('id', '=', id)
      .execute();
  }

  /** Attempts of a job in the order in which they began. Index `step_attempt_job`. */
  async list(jobId: string): Promise<StepAttemptRow[]> {
    return this.db.selectFrom('step_attempt').selectAll().where('job_id', '=', jobId).orderBy('id').execute();
  }
}
