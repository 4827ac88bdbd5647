import {
  ImsError,
  isJobId,
  type JobId,
  jobStream,
  projectId as toProject,
  receivedDisk,
  type ReceiveOffer,
  type ReceiveState,
  type SendingJob,
  SYSTEM,
} from '@ims/contract';
import {
  type Clock,
  type Database,
  inTransaction,
  type JobRow,
  JobsRepository,
  OutboxRepository,
  QuotaRepository,
} from '@ims/db';
import { type Agency, checkAgencyHere, decideReceiveImage, type ReceiveImageState, targetProjectOf } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { jobOutbox, type JobStarter } from '@ims/job-engine';
import type { BackupsPort } from '@ims/neighbours';
import { type Kysely, sql, type Transaction } from 'kysely';
import { receiveJobId } from './receive-job-id';

export interface ReceiveParts {
  db: Kysely<Database>;
  clock: Clock;
  region: string;
  agencies: readonly Agency[];
  starter: Pick<JobStarter, 'startNow' | 'cancel'>;
  backups: Pick<BackupsPort, 'getVault' | 'isInRegion'>;
  /** Deletes an image as its owner could; one that has gone already is as well. */
  deleteImage(projectId: string, imageId: string): Promise<void>;
}

const GIB = 2 ** 30;
const CALLED_BACK = 'called back by the region that sends';

/**
 * Images that other regions send to this one: accepted, shown and called back for them. Each request tells which execution of the sending job it comes
 * from; once a newer one has spoken, IMG.0105 (409) is all that an older one gets. A worker there that stood still for a while must not call back what
 * its successor has brought to its end.
 */
export class Receives {
  constructor(private readonly parts: ReceiveParts) {}

  /** Whether the offer would be accepted now. @throws ImsError as `start` */
  async check(from: string, offer: ReceiveOffer): Promise<void> {
    await inTransaction(this.parts.db, async (trx) => {
      await this.#decide(trx, from, offer);
    });
  }

  /**
   * Accepts an image that another region offers, once: the job is named after the one that sends.
   *
   * @throws ImsError IMG.0151, IMG.0104, IMG.0145 and those of `decideReceiveImage`; IMG.0105 (409) when it was called back before it arrived
   */
  async start(from: string, offer: ReceiveOffer): Promise<ReceiveState> {
    const { db, clock, region, starter } = this.parts;
    const id = this.#jobId(from, offer.jobId);
    const outboxId = await inTransaction(db, async (trx) => {
      const { calledBackAt } = await passFence(trx, id, from, offer);
      const known = await new JobsRepository(trx).lock(id);
      if (known !== undefined) return undefined;
      if (calledBackAt !== null) throw new ImsError('IMG.0105', CALLED_BACK, 409);
      const { projectId, events, input } = await this.#decide(trx, from, offer);
      await appendEvents(trx, { projectId, actor: SYSTEM, jobId: id }, events, clock);
      return new OutboxRepository(trx).add(
        jobOutbox({ type: 'imageReceive', input, summary: `Receive image ${input.imageName} from ${from}` }, region),
      );
    });
    if (outboxId !== undefined) await starter.startNow(outboxId);
    return this.show(from, offer);
  }

  /**
   * What has become of it so far. Success is only told of an image that has not been called back, and once it was told no older execution can call it back.
   *
   * @throws ImsError IMG.0023 (404) when that job has sent nothing here
   */
  async show(from: string, sender: SendingJob): Promise<ReceiveState> {
    const id = this.#jobId(from, sender.jobId);
    return inTransaction(this.parts.db, async (trx) => {
      const fence = await passFence(trx, id, from, sender);
      const job = await trx.selectFrom('job').selectAll().where('id', '=', id).executeTakeFirst();
      if (job === undefined) throw new ImsError('IMG.0023', 'nothing is received for this job', 404);
      return stateOf(trx, job, fence);
    });
  }

  /**
   * Ends a replication without an image. One under way is cancelled, and ended when its state says so; of one that has succeeded the image is deleted;
   * one that never arrived will not be accepted any more.
   */
  async cancel(from: string, sender: SendingJob): Promise<ReceiveState> {
    const { db, clock, starter, deleteImage } = this.parts;
    const id = this.#jobId(from, sender.jobId);
    const calledBackAt = clock.now();
    const job = await inTransaction(db, async (trx) => {
      await passFence(trx, id, from, sender);
      await trx
        .updateTable('receive_fence')
        .set({ called_back_at: calledBackAt })
        .where('job_id', '=', id)
        .where('called_back_at', 'is', null)
        .execute();
      const found = await new JobsRepository(trx).lock(id);
      if (found === undefined) return undefined;
      if (found.outcome === null && found.cancel_reason === null) {
        await appendEvents(
          trx,
          { projectId: found.project_id, actor: SYSTEM, jobId: id },
          [
            {
              stream: jobStream(id),
              key: 'cancel-requested',
              type: 'job.cancel-requested',
              data: { reason: CALLED_BACK },
            },
          ],
          clock,
        );
      }
      return found;
    });
    if (job === undefined) return { ...NOTHING, jobId: id, imageId: null, outcome: 'cancelled', reason: CALLED_BACK };
    if (job.outcome === null) await starter.cancel(id);
    else if (job.outcome === 'succeeded' && job.image_id !== null) await deleteImage(job.project_id, job.image_id);
    return stateOf(db, job, { calledBackAt });
  }

  #jobId(from: string, jobId: string): JobId {
    if (!isJobId(jobId)) throw new ImsError('IMG.0023', 'no such job', 404);
    return receiveJobId({ from, to: this.parts.region, jobId });
  }

  async #decide(trx: Transaction<Database>, from: string, offer: ReceiveOffer) {
    const { region, agencies, backups } = this.parts;
    checkAgencyHere(agencies, offer.agencyName, region);
    const projects = await trx
      .selectFrom('project')
      .innerJoin('account', 'account.id', 'project.account_id')
      .select(['project.id', 'project.name'])
      .where('account.name', '=', offer.accountName)
      .orderBy('project.name')
      .execute();
    const projectId = toProject(targetProjectOf(projects, offer.projectName, region));
    const { backup, vaultId } = offer;
    const vault =
      backup === undefined || vaultId === undefined ? undefined : await backups.getVault(projectId, vaultId);
    const quotas = await QuotaRepository.lock(trx, projectId, ['image']);
    const state: ReceiveImageState = {
      imageQuota: quotas.image,
      vault: vault && {
        protectType: vault.protectType,
        status: vault.status,
        freeBytes: vault.sizeGib * GIB - vault.usedBytes,
      },
      hasReplicaOfBackup: backup !== undefined && (await backups.isInRegion(backup.backupId)),
    };
    const jobId = this.#jobId(from, offer.jobId);
    return { projectId, ...decideReceiveImage(state, { projectId, jobId, from, offer }) };
  }
}

async function stateOf(db: Kysely<Database>, job: JobRow, { calledBackAt }: Fence): Promise<ReceiveState> {
  const progress = await new JobsRepository(db).progress(job.id);
  const received = await db
    .selectFrom('job_step')
    .select('output')
    .where('job_id', '=', job.id)
    .where('step', '=', 'receive')
    .where('state', '=', 'completed')
    .executeTakeFirst();
  const disk = received === undefined ? undefined : receivedDisk.parse(received.output);
  return {
    jobId: job.id,
    imageId: job.image_id,
    errorCode: job.error_code,
    // Its image is being deleted: whoever sent it has called it back.
    ...(calledBackAt !== null && job.outcome === 'succeeded'
      ? { outcome: 'cancelled', reason: CALLED_BACK }
      : { outcome: job.outcome, reason: job.fail_reason }),
    bytesDone: progress?.bytes_done ?? 0,
    bytesTotal: progress?.bytes_total ?? 0,
    wireBytes: disk?.wireBytes ?? 0,
    storedBytes: disk?.storedBytes ?? 0,
  };
}

const NOTHING = { errorCode: null, bytesDone: 0, bytesTotal: 0, wireBytes: 0, storedBytes: 0 } as const;

interface Fence {
  calledBackAt: Date | null;
}

/**
 * Takes note of the execution that asks. One request about a replication at a time: of a start and a call-back that cross, one comes first.
 *
 * @throws ImsError IMG.0105 (409) when a newer one has asked before
 */
async function passFence(trx: Transaction<Database>, id: JobId, from: string, { epoch }: SendingJob): Promise<Fence> {
  await sql`select pg_advisory_xact_lock(hashtextextended(${`receive:${id}`}, 0))`.execute(trx);
  const fence = await trx.selectFrom('receive_fence').selectAll().where('job_id', '=', id).executeTakeFirst();
  if (fence !== undefined && fence.epoch > epoch)
    throw new ImsError('IMG.0105', 'a newer execution of the job that sends has taken over', 409);
  // Once a second it is the same one that asks.
  if (fence?.epoch !== epoch)
    await trx
      .insertInto('receive_fence')
      .values({ job_id: id, source_region: from, epoch })
      .onConflict((conflict) => conflict.column('job_id').doUpdateSet({ epoch }))
      .execute();
  return { calledBackAt: fence?.called_back_at ?? null };
}
