import { type Kysely, sql } from 'kysely';
import type { Database } from '../db-types';

/** The row of `step_attempt` that reports, and what it has to say of itself alone (bytes written). */
export interface AttemptNote {
  id: number;
  detail: Readonly<Record<string, unknown>>;
}

/** How far a running step has come (`job_progress`). At most one write a second per job is the caller's duty. */
export class ProgressRepository {
  constructor(private readonly db: Kysely<Database>) {}

  /**
   * Sets the progress of a job's step, in bytes. It never goes back (I12): within a step the larger number stays, and the report of a step
   * that is recorded as completed is dropped; both come from attempts that outlived their heartbeat. So is the report of a job that has ended:
   * its row is gone, and the lock on the job lets no report slip in while it ends.
   *
   * The same statement notes the position and `attempt.detail` with the attempt, so that a killed one leaves what it had done by its last tick.
   */
  async report(
    jobId: string,
    step: string,
    bytesDone: number,
    bytesTotal: number,
    at: Date,
    attempt?: AttemptNote,
  ): Promise<void> {
    const detail = JSON.stringify({ ...attempt?.detail, bytesDone, bytesTotal });
    await sql`
      with open_job as (
        select from job where id = ${jobId} and outcome is null for share
      ), noted as (
        update step_attempt set detail = ${detail}::jsonb
        where id = ${attempt?.id ?? null}::bigint and ended_at is null
      )
      insert into job_progress as known (job_id, step, bytes_done, bytes_total, updated_at)
      select ${jobId}, ${step}, ${bytesDone}::bigint, ${bytesTotal}::bigint, ${at}::timestamptz
      from open_job
      where not exists (select from job_step where job_id = ${jobId} and step = ${step} and completed_at is not null)
      on conflict (job_id) do update set
        step = excluded.step,
        bytes_done = case when known.step = excluded.step then greatest(known.bytes_done, excluded.bytes_done) else excluded.bytes_done end,
        bytes_total = excluded.bytes_total,
        updated_at = excluded.updated_at`.execute(this.db);
  }

  /** Removes the row of a job, in the transaction that ends it. Accepts that there is none. */
  async clear(jobId: string): Promise<void> {
    await this.db.deleteFrom('job_progress').where('job_id', '=', jobId).execute();
  }
}
