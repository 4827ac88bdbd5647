import { Inject, Injectable } from '@nestjs/common';
import { isJobId, type JobAccepted, jobWorkflowId, projectId } from '@ims/contract';
import { type Clock, type Database, inTransaction, type JobRow, JobsRepository } from '@ims/db';
import { decideCancelJob } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { Kysely, sql, type Transaction } from 'kysely';
import { eventContext } from '../access/event-context';
import { actionToCreate, type Call, checkAction, type CreateAction } from '../access/permits';
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

  /**
   * Records the wish, then tells the engine; steps see it in the job's row, so a lost call is no lost wish. Asking again changes nothing.
   *
   * @throws ImsError IMG.0026 unless the caller may make what the job makes; IMG.0023 (404) for a job that is not the project's; IMG.0105 (409)
   * for one that has ended
   */
  async cancel(caller: Call, id: string): Promise<JobAccepted> {
    if (!isJobId(id)) throw noSuchJob();
    await inTransaction(this.db, async (trx) => {
      const job = await new JobsRepository(trx).lock(id);
      // Another project's job is as unknown as none: what it makes is not asked for.
      if (job?.project_id === caller.projectId) checkAction(caller, await actionOf(trx, job));
      const { events } = decideCancelJob(
        job && {
          id,
          projectId: projectId(job.project_id),
          saga: job.saga,
          outcome: job.outcome,
          cancelReason: job.cancel_reason,
        },
        { projectId: projectId(caller.projectId), reason: `cancelled by ${caller.userName}` },
      );
      await appendEvents(trx, eventContext(caller, { jobId: id }), events, this.clock);
    });
    await this.engine.cancel(jobWorkflowId(id));
    return { job_id: id };
  }
}

/** The action that was needed to start the job; the image that it makes tells (ims-api 3). */
async function actionOf(trx: Transaction<Database>, job: Pick<JobRow, 'image_id'>): Promise<CreateAction> {
  const image = await trx
    .selectFrom('image')
    .select([
      sql<string | null>`attributes ->> 'virtual_env_type'`.as('type'),
      sql<string | null>`attributes ->> '__whole_image'`.as('whole'),
    ])
    .where('id', '=', job.image_id)
    .executeTakeFirst();
  return actionToCreate(image?.type, image?.whole === 'true');
}
