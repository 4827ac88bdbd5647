import { type Kysely, type Selectable, sql } from 'kysely';
import type { Database } from '../db-types';

export type JobRow = Selectable<Database['job']>;
export type JobStepRow = Selectable<Database['job_step']>;
export type JobProgressRow = Selectable<Database['job_progress']>;

// Its image was there before, and may go while it is read: what is read is held.
const READS_ITS_IMAGE = 'image-export';

/** A job with what its document is made of (ims-api 10). */
export interface JobView {
  job: JobRow;
  /** Steps that were completed or undone, in the order of `job.steps`. */
  steps: JobStepRow[];
  /** How far the step now running has come, or of a job that has ended, came; absent before the first report. */
  progress: JobProgressRow | undefined;
  /** The jobs that it has for its several images, in the order of the request; empty for every other job. */
  subJobs: Omit<JobView, 'subJobs'>[];
}

/** Jobs: reads of the projections `job` and `job_step` and of `job_progress`. */
export class JobsRepository {
  constructor(private readonly db: Kysely<Database>) {}

  /** The job, or `undefined`; another project's job is unknown (ims-api 10.1). Primary key. */
  async find(projectId: string, jobId: string): Promise<JobRow | undefined> {
    return this.db
      .selectFrom('job')
      .selectAll()
      .where('id', '=', jobId)
      .where('project_id', '=', projectId)
      .executeTakeFirst();
  }

  /**
   * The job with its steps and progress. Progress is read before steps: a step that ends in between is then shown as completed beside its own
   * progress, where the other order would show the next step's progress and lose this one (I12).
   */
  async view(projectId: string, jobId: string): Promise<JobView | undefined> {
    const job = await this.find(projectId, jobId);
    if (job === undefined) return undefined;
    const [view] = await this.views([job]);
    return view;
  }

  /** The same of several jobs, in their order, each with its parts by id, which is the order they were asked for (index `job_parent`). */
  async views(jobs: readonly JobRow[]): Promise<JobView[]> {
    if (jobs.length === 0) return [];
    const ids = jobs.map(({ id }) => id);
    const parts = await this.db.selectFrom('job').selectAll().where('parent_id', 'in', ids).orderBy('id').execute();
    const all = [...ids, ...parts.map(({ id }) => id)];
    const progress = await this.db.selectFrom('job_progress').selectAll().where('job_id', 'in', all).execute();
    // The row goes with the job's end, which may come between two of these reads. A job that is all done needs none, and neither do parts that have ended.
    const without = jobs.filter(
      ({ id, outcome }) => outcome !== 'succeeded' && progress.every((row) => row.job_id !== id),
    );
    progress.push(...(await this.lastProgress(without.map(({ id }) => id))));
    const steps = await this.db.selectFrom('job_step').selectAll().where('job_id', 'in', all).execute();
    const viewOf = (job: JobRow): Omit<JobView, 'subJobs'> => ({
      job,
      steps: steps
        .filter(({ job_id }) => job_id === job.id)
        .sort((a, b) => job.steps.indexOf(a.step) - job.steps.indexOf(b.step)),
      progress: progress.find(({ job_id }) => job_id === job.id),
    });
    return jobs.map((job) => ({
      ...viewOf(job),
      subJobs: parts.filter((part) => part.parent_id === job.id).map(viewOf),
    }));
  }

  /** Whatever project it belongs to, locked until the transaction ends: for the service's own steps, which check the fencing epoch under it. */
  async lock(jobId: string): Promise<JobRow | undefined> {
    return this.db.selectFrom('job').selectAll().where('id', '=', jobId).forUpdate().executeTakeFirst();
  }

  /** The parts of a job, locked likewise and in one order for all callers; call it after the job itself was locked. */
  async lockSubJobs(parentId: string): Promise<JobRow[]> {
    return this.db.selectFrom('job').selectAll().where('parent_id', '=', parentId).orderBy('id').forUpdate().execute();
  }

  /**
   * Locks the project's unfinished job that makes this image, and says whether there is one; waits for a transaction that is just ending it.
   * What is read of the image afterwards in the same transaction cannot be changed by the job. Index `job_open`.
   */
  async lockMakerOf(projectId: string, imageId: string): Promise<boolean> {
    const row = await this.db
      .selectFrom('job')
      .select('id')
      .where('image_id', '=', imageId)
      .where('project_id', '=', projectId)
      .where('outcome', 'is', null)
      .where('saga', '<>', READS_ITS_IMAGE)
      .forUpdate()
      .executeTakeFirst();
    return row !== undefined;
  }

  /** Whether a job of the project that makes this image is open, as far as others have committed. Index `job_open`. */
  async isBeingMade(projectId: string, imageId: string): Promise<boolean> {
    const row = await this.db
      .selectFrom('job')
      .select('id')
      .where('image_id', '=', imageId)
      .where('project_id', '=', projectId)
      .where('outcome', 'is', null)
      .where('saga', '<>', READS_ITS_IMAGE)
      .executeTakeFirst();
    return row !== undefined;
  }

  /** Whether a job of the project that exports this image is open, as far as others have committed. Index `job_open`. */
  async isBeingExported(projectId: string, imageId: string): Promise<boolean> {
    const row = await this.db
      .selectFrom('job')
      .select('id')
      .where('image_id', '=', imageId)
      .where('project_id', '=', projectId)
      .where('outcome', 'is', null)
      .where('saga', '=', READS_ITS_IMAGE)
      .executeTakeFirst();
    return row !== undefined;
  }

  /** Jobs without an outcome, oldest first. Index `job_open`. */
  async listOpen(limit: number): Promise<JobRow[]> {
    return this.db
      .selectFrom('job')
      .selectAll()
      .where('outcome', 'is', null)
      .orderBy('begin_at')
      .limit(limit)
      .execute();
  }

  /**
   * Newest jobs of a project; `before` is the last one of the previous page. Index `job_project`.
   *
   * @param status only those, `open` all that have not ended; `isWhole` none that are parts of others
   */
  async list(
    projectId: string,
    limit: number,
    before?: Pick<JobRow, 'begin_at' | 'id'>,
    { status, isWhole = false }: { status?: JobRow['status'] | 'open' | undefined; isWhole?: boolean } = {},
  ): Promise<JobRow[]> {
    let query = this.db.selectFrom('job').selectAll().where('project_id', '=', projectId);
    if (status === 'open') query = query.where('outcome', 'is', null);
    else if (status !== undefined) query = query.where('status', '=', status);
    if (isWhole) query = query.where('parent_id', 'is', null);
    if (before !== undefined) {
      query = query.where(({ eb, and, or }) =>
        and([
          // Said twice: this half is the range of the index, the other one takes the rows of the same moment.
          eb('begin_at', '<=', before.begin_at),
          or([
            eb('begin_at', '<', before.begin_at),
            and([eb('begin_at', '=', before.begin_at), eb('id', '>', before.id)]),
          ]),
        ]),
      );
    }
    return query.orderBy('begin_at', 'desc').orderBy('id').limit(limit).execute();
  }

  async steps(job: Pick<JobRow, 'id' | 'steps'>): Promise<JobStepRow[]> {
    const rows = await this.db.selectFrom('job_step').selectAll().where('job_id', '=', job.id).execute();
    return rows.sort((a, b) => job.steps.indexOf(a.step) - job.steps.indexOf(b.step));
  }

  /** The furthest position that attempts of each job's last step to report have noted: what is left of a job's progress once it has ended. */
  private async lastProgress(jobIds: readonly string[]): Promise<JobProgressRow[]> {
    if (jobIds.length === 0) return [];
    const { rows } = await sql<JobProgressRow>`
      select distinct on (job_id) job_id, step,
        max((detail->>'bytesDone')::bigint) as bytes_done, max((detail->>'bytesTotal')::bigint) as bytes_total,
        max(coalesce(ended_at, started_at)) as updated_at,
        max(case when (detail->>'bytesTotal')::float8 > 0
          then least(1, (detail->>'bytesDone')::float8 / (detail->>'bytesTotal')::float8) else 0 end) as step_share,
        null as bytes_per_second, null as measured_from, 0 as measured_bytes, null as eta_at
      from step_attempt
      where job_id in (${sql.join(jobIds)}) and detail->>'bytesDone' is not null and detail->>'bytesTotal' is not null
      group by job_id, step
      order by job_id, max(id) desc`.execute(this.db);
    return rows;
  }

  async progress(jobId: string): Promise<JobProgressRow | undefined> {
    return this.db.selectFrom('job_progress').selectAll().where('job_id', '=', jobId).executeTakeFirst();
  }
}
