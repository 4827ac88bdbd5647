import { Inject, Injectable } from '@nestjs/common';
import { isJobId, type JobAccepted, jobWorkflowId, projectId } from '@ims/contract';
import { type Clock, type Database, inTransaction, JobsRepository } from '@ims/db';
import { decideCancelJob } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { Kysely } from 'kysely';
import { eventContext } from '../access/event-context';
import type { Call } from '../access/permits';
import { CLOCK } from '../http/injection-tokens';
import { EngineCalls } from './engine-calls';
import { noSuchJob } from './jobs.service';

@Injectable()
export class JobCancelService {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly engine: EngineCalls,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** Records the wish, then tells the engine; steps see it in the job's row, so a lost call is no lost wish. Asking again changes nothing. */
  async cancel(caller: Call, id: string): Promise<JobAccepted> {
    if (!isJobId(id)) throw noSuchJob();
    await inTransaction(this.db, async (trx) => {
      const job = await new JobsRepository(trx).lock(id);
      const { events } = decideCancelJob(
        job && { id, projectId: projectId(job.project_id), outcome: job.outcome, cancelReason: job.cancel_reason },
        { projectId: projectId(caller.projectId), reason: `cancelled by ${caller.userName}` },
      );
      await appendEvents(trx, eventContext(caller, { jobId: id }), events, this.clock);
    });
    await this.engine.cancel(jobWorkflowId(id));
    return { job_id: id };
  }
}
