import { STEP_WEIGHTS, WEIGHT_OF_A_MOMENT } from '@ims/contract';
import { type Kysely, sql } from 'kysely';
import type { Database } from '../db-types';

/** The row of `step_attempt` that reports, and what it has to say of itself alone (bytes written). */
export interface AttemptNote {
  id: number;
  detail: Readonly<Record<string, unknown>>;
}

// A rate that a person reads: what happened ten seconds ago counts a third of what happens now.
const RATE_WINDOW_S = 10;
// A promise is never taken back, so none is made on the first moments, in which the empty begin of a disk rushes by.
const SECONDS_BEFORE_A_PROMISE = 3;
// Slower than this a job has stopped rather than that it takes four months.
const LONGEST_PROMISE_S = 10_000_000;

/** How far a running step has come (`job_progress`). At most one write a second per job is the caller's duty. */
export class ProgressRepository {
  constructor(private readonly db: Kysely<Database>) {}

  /**
   * Sets the progress of a job's step, in bytes. It never goes back (I12): within a step the larger number and the larger share stay, and the
   * report of a step that is recorded as completed is dropped; both come from attempts that outlived their heartbeat. So is the report of a job that
   * has ended: its row is gone, and the lock on the job lets no report slip in while it ends.
   *
   * A total of 0 is one that nobody knows: then there is neither a share nor an end.
   *
   * The rate is the mean of what was measured, the last seconds above all. The promised end of the job is reckoned from the slower of that and the mean
   * since the step began, with what comes after the step by its weight; it is brought forward, never put off.
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
        select steps from job where id = ${jobId} and outcome is null for share
      ), noted as (
        update step_attempt set detail = ${detail}::jsonb
        where id = ${attempt?.id ?? null}::bigint and ended_at is null
      ), weight as (
        select name, place, coalesce((${JSON.stringify(STEP_WEIGHTS)}::jsonb ->> name)::float8, ${WEIGHT_OF_A_MOMENT}) as weight
        from open_job, unnest(steps) with ordinality as each (name, place)
      ), rest as (
        -- What comes after the step, as a multiple of it.
        select coalesce(sum(later.weight) / max(this.weight), 0) as multiple
        from weight this join weight later on later.place > this.place
        where this.name = ${step}
      )
      insert into job_progress as known
        (job_id, step, bytes_done, bytes_total, updated_at, step_share, measured_from, measured_bytes)
      select ${jobId}, ${step}, ${bytesDone}::bigint, ${bytesTotal}::bigint, ${at}::timestamptz,
        case when ${bytesTotal}::float8 > 0 then least(1, ${bytesDone}::float8 / ${bytesTotal}::float8) else 0 end, ${at}::timestamptz, ${bytesDone}::bigint
      from open_job
      where not exists (select from job_step where job_id = ${jobId} and step = ${step} and completed_at is not null)
      on conflict (job_id) do update set
        (step, bytes_done, bytes_total, updated_at, step_share, bytes_per_second, measured_from, measured_bytes, eta_at) = (
          select excluded.step, done, excluded.bytes_total, greatest(known.updated_at, excluded.updated_at), share, rate, since, bytes_before,
            case when measured >= ${SECONDS_BEFORE_A_PROMISE} and cautious > 0 and excluded.bytes_total > 0 then least(
              known.eta_at,
              excluded.updated_at + make_interval(secs => least(
                ${LONGEST_PROMISE_S},
                (greatest(0, excluded.bytes_total - done) + excluded.bytes_total * rest.multiple) / cautious
              ))
            ) else known.eta_at end
          from rest,
          lateral (select known.step = excluded.step as goes_on) step,
          lateral (select
            case when goes_on then greatest(known.bytes_done, excluded.bytes_done) else excluded.bytes_done end as done,
            case when goes_on then greatest(known.step_share, excluded.step_share) else excluded.step_share end as share,
            case when goes_on then coalesce(known.measured_from, excluded.updated_at) else excluded.updated_at end as since,
            case when goes_on and known.measured_from is not null then known.measured_bytes else excluded.bytes_done end as bytes_before,
            -- Nothing was measured before the step began, or while the job was paused.
            case when goes_on and known.measured_from is not null
              then extract(epoch from excluded.updated_at - known.updated_at)::float8 else 0 end as passed
          ) now,
          lateral (select
            case
              when not goes_on then null
              when passed <= 0 then known.bytes_per_second
              when known.bytes_per_second is null then (done - known.bytes_done) / passed
              else known.bytes_per_second
                + (1 - exp(-least(passed, 1000) / ${RATE_WINDOW_S})) * ((done - known.bytes_done) / passed - known.bytes_per_second)
            end as rate,
            extract(epoch from excluded.updated_at - since)::float8 as measured
          ) speed,
          lateral (select least(rate, (done - bytes_before) / nullif(greatest(measured, 0), 0)) as cautious) promise
        )`.execute(this.db);
  }

  /** Forgets how fast the job is and when it was to end, in the transaction that pauses or resumes it; how far it is stays. */
  async stopClock(jobId: string): Promise<void> {
    await this.db
      .updateTable('job_progress')
      .set({ bytes_per_second: null, measured_from: null, eta_at: null })
      .where('job_id', '=', jobId)
      .execute();
  }

  /** Removes the row of a job, in the transaction that ends it. Accepts that there is none. */
  async clear(jobId: string): Promise<void> {
    await this.db.deleteFrom('job_progress').where('job_id', '=', jobId).execute();
  }
}
