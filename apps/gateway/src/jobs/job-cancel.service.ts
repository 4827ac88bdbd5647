import { Inject, Injectable } from '@nestjs/common';
import { isJobId, jobId, type JobAccepted, jobWorkflowId, projectId } from '@ims/contract';
import { type Clock, type Database, inTransaction, type JobRow, JobsRepository } from '@ims/db';
import { type CancellableJob, decideCancelJob } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { Kysely, sql, type Transaction } from 'kysely';
import { eventContext } from '../access/event-context';
import { type Action, actionToCreate, type Call, checkAction, type CreateAction } from '../access/permits';
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
   * Records the wish, then tells the engine; steps see it in the job's row, so a lost call is no lost wish. Asking again changes nothing. A job of
   * several images takes those of its parts that have not ended along; a part can be cancelled by itself.
   *
   * @throws ImsError IMG.0026 unless the caller may make what the job makes; IMG.0023 (404) for a job that is not the project's; IMG.0105 (409)
   * for one that has ended
   */
  async cancel(caller: Call, id: string): Promise<JobAccepted> {
    if (!isJobId(id)) throw noSuchJob();
    const cancelled = await inTransaction(this.db, async (trx) => {
      const jobs = new JobsRepository(trx);
      const job = await jobs.lock(id);
      // Another project's job is as unknown as none: what it makes is not asked for.
      if (job?.project_id === caller.projectId) checkAction(caller, await actionToStart(trx, job));
      const parts = job === undefined ? [] : (await jobs.lockSubJobs(id)).filter(({ outcome }) => outcome === null);
      const { events } = decideCancelJob(job && { ...cancellable(job), parts: parts.map(cancellable) }, {
        projectId: projectId(caller.projectId),
        reason: `cancelled by ${caller.userName}`,
      });
      await appendEvents(trx, eventContext(caller, { jobId: id }), events, this.clock);
      return [id, ...parts.map((part) => jobId(part.id))];
    });
    await Promise.all(cancelled.map((each) => this.engine.cancel(jobWorkflowId(each))));
    return { job_id: id };
  }
}

/** Jobs that bring the bytes of an image that was there before (ims-api 6.6, 12.7). */
const UPLOADS: ReadonlySet<string> = new Set(['imsNativeImportImageJob', 'imsGoofysUploadImageJob']);

const cancellable = (job: JobRow): CancellableJob => ({
  id: jobId(job.id),
  projectId: projectId(job.project_id),
  saga: job.saga,
  outcome: job.outcome,
  cancelReason: job.cancel_reason,
});

/** The action that was needed to start the job, which the image that it makes tells (ims-api 3). Jobs of several images, and so their parts, come by one call, whatever the images are. */
async function actionToStart(trx: Transaction<Database>, job: JobRow): Promise<Action> {
  switch (job.saga) {
    case 'server-create':
      return job.type === 'createServer' ? 'ecs:cloudServers:create' : 'bms:servers:create';
    case 'cloud-change':
      return 'ecs:cloudServers:create';
    case 'volume-create':
      return 'evs:volumes:create';
    case 'image-export':
      return 'ims:images:export';
    case 'server-backup':
      return 'cbr:vaults:backup';
    case 'image-copy':
    case 'image-replicate':
    case 'image-receive':
      return 'ims:images:copy';
    default:
      return UPLOADS.has(job.type) ? 'ims:images:upload' : actionToMakeImage(trx, job);
  }
}

async function actionToMakeImage(trx: Transaction<Database>, job: JobRow): Promise<CreateAction> {
  if (job.saga === 'image-batch' || job.parent_id !== null) return actionToCreate(undefined);
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
