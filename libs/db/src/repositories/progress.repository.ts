import { type Kysely, sql } from 'kysely';
import type { Database } from '../db-types';

/** How far a running step has come (`job_progress`). At most one write a second per job is the caller's duty. */
export class ProgressRepository {
  constructor(private readonly db: Kysely<Database>) {}

  /**
   * Sets the progress of a job's step, in bytes. Within one step it never goes back, also when a late report of an earlier attempt
   * arrives (I12).
   */
  async report(jobId: string, step: string, bytesDone: number, bytesTotal: number, at: Date): Promise<void> {
    await this.db
      .insertInto('job_progress')
      .values({ job_id: jobId, step, bytes_done: bytesDone, bytes_total: bytesTotal, updated_at: at })
      .onConflict((conflict) =>
        conflict.column('job_id').doUpdateSet({
          step,
          bytes_done: sql`case when job_progress.step = excluded.step then greatest(job_progress.bytes_done, excluded.bytes_done)
            else excluded.bytes_done end`,
          bytes_total: bytesTotal,
          updated_at: at,
        }),
      )
      .execute();
  }

  /** Removes the row of a job that has ended. Accepts that there is none. */
  async clear(jobId: string): Promise<void> {
    await this.db.deleteFrom('job_progress').where('job_id', '=', jobId).execute();
  }
}
