import { Inject, Injectable } from '@nestjs/common';
import { isJobId, jobId, type JobAccepted, jobWorkflowId, projectId } from '@ims/contract';
import { type Clock, type Database, inTransaction, type JobRow, JobsRepository } from '@ims/db';
import {
  type CancelJobCommand,
  decideCancelJob,
  decidePauseJob,
  decideResumeJob,
  type DomainEvent,
  type PausableJob,
} from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { Kysely } from 'kysely';
import { eventContext } from '../access/event-context';
import { type Call, checkAction } from '../access/permits';
import { CLOCK } from '../http/injection-tokens';
import { actionToStart } from './action-to-start';
import { EngineCalls } from './engine-calls';
import { noSuchJob } from './jobs.service';

/** What is wished for a job under way. Steps see it in the job's row, so that a lost call to the engine is no lost wish; asking again changes nothing. */
@Injectable()
export class JobCancelService {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly engine: EngineCalls,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /**
   * Records the wish, then tells the engine. A job of several images takes those of its parts that have not ended along; a part can be cancelled
   * by itself.
   *
   * @throws ImsError IMG.0026 unless the caller may make what the job makes; IMG.0023 (404) for a job that is not the project's; IMG.0105 (409)
   * for one that has ended or cannot be called back
   */
  async cancel(caller: Call, id: string): Promise<JobAccepted> {
    const cancelled = await this.#decide(caller, id, 'cancelled', decideCancelJob);
    await Promise.all(cancelled.map((each) => this.engine.cancel(jobWorkflowId(each))));
    return { job_id: id };
  }

  /**
   * The steps of the job wait from now on, and the one at work lets go in a moment; what is done stays. Its open parts are paused with it.
   *
   * @throws ImsError as `cancel`; IMG.0105 (409) for a job that is being cancelled
   */
  async pause(caller: Call, id: string): Promise<JobAccepted> {
    await this.#decide(caller, id, 'paused', decidePauseJob);
    return { job_id: id };
  }

  /** @throws ImsError as `cancel` */
  async resume(caller: Call, id: string): Promise<JobAccepted> {
    await this.#decide(caller, id, 'resumed', decideResumeJob);
    return { job_id: id };
  }

  /** @returns the job and those of its parts that have not ended */
  async #decide(
    caller: Call,
    id: string,
    done: string,
    decide: (job: PausableJob | undefined, command: CancelJobCommand) => { events: DomainEvent[] },
  ) {
    if (!isJobId(id)) throw noSuchJob();
    return inTransaction(this.db, async (trx) => {
      const jobs = new JobsRepository(trx);
      const job = await jobs.lock(id);
      // Another project's job is as unknown as none: what it makes is not asked for.
      if (job?.project_id === caller.projectId) checkAction(caller, await actionToStart(trx, job));
      const parts = job === undefined ? [] : (await jobs.lockSubJobs(id)).filter(({ outcome }) => outcome === null);
      const { events } = decide(job && { ...pausable(job), parts: parts.map(pausable) }, {
        projectId: projectId(caller.projectId),
        reason: `${done} by ${caller.userName}`,
      });
      await appendEvents(trx, eventContext(caller, { jobId: id }), events, this.clock);
      return [id, ...parts.map((part) => jobId(part.id))];
    });
  }
}

const pausable = (job: JobRow): PausableJob => ({
  id: jobId(job.id),
  projectId: projectId(job.project_id),
  saga: job.saga,
  outcome: job.outcome,
  cancelReason: job.cancel_reason,
  isPaused: job.paused_at !== null,
  pauses: job.pauses,
});
