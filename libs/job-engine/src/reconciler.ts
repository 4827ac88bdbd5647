import { WorkflowNotFoundError } from '@temporalio/client';
import { jobId as toJobId, jobStream, SYSTEM } from '@ims/contract';
import { type Clock, type Database, inTransaction } from '@ims/db';
import { appendEvents, type NewEvent } from '@ims/event-log';
import { type Kysely, sql } from 'kysely';
import type { EngineLog, JobStarter } from './job-starter';
import type { Temporal } from './temporal';

// A young job may be between its commit and its start; the relay looks after it.
const LEAVE_ALONE_MS = 5_000;
const DESCRIBE_DEADLINE_MS = 3_000;
const BATCH = 200;

/** What the engine knows of a job that Postgres holds open. */
type EngineState = 'running' | 'gone' | 'ended' | 'unknown';

/**
 * Postgres is the truth, the engine is only an engine: an open job whose workflow is gone or was ended from outside is started again under a new
 * epoch, and either goes on from its recorded steps or, when somebody ended it on purpose, unwinds (temporal-notes 12.8).
 */
export class Reconciler {
  /** The last open job that was looked at: the next pass goes on behind it, since those before it may stay open for days. */
  #lookedAt: { begin_at: Date; id: string } | undefined;

  constructor(
    private readonly db: Kysely<Database>,
    private readonly temporal: Temporal,
    private readonly starter: JobStarter,
    private readonly clock: Clock,
    private readonly log: EngineLog,
    /** Most jobs or images that one pass looks at. */
    private readonly batch = BATCH,
  ) {}

  /** One pass over some of the open jobs, oldest first; the passes together come round to all. Returns the ids of the jobs it acted on. */
  async pass(): Promise<string[]> {
    const open = await this.#openJobs();
    const acted: string[] = [];
    for (const job of open) {
      const state = await this.#stateOf(job.id);
      if (state === 'unknown') return acted;
      this.#lookedAt = job;
      if (state === 'running') {
        // A cancellation that did not reach the engine is sent again; a second one changes nothing.
        if (job.cancel_reason !== null) await this.starter.cancel(job.id);
        continue;
      }
      if (await this.#restart(job, state)) acted.push(job.id);
    }
    if (open.length < this.batch) this.#lookedAt = undefined;
    return acted;
  }

  /** Index `job_open`. */
  #openJobs() {
    const last = this.#lookedAt;
    let query = this.db
      .selectFrom('job')
      .select(['id', 'epoch', 'cancel_reason', 'project_id', 'begin_at'])
      .where('outcome', 'is', null)
      .where('begin_at', '<', new Date(this.clock.now().getTime() - LEAVE_ALONE_MS))
      .where(({ not, exists, selectFrom }) =>
        not(
          exists(
            selectFrom('outbox')
              .select('id')
              .whereRef('outbox.workflow_id', '=', 'job.id')
              .where('sent_at', 'is', null),
          ),
        ),
      )
      .orderBy('begin_at')
      .orderBy('id')
      .limit(this.batch);
    if (last !== undefined)
      query = query.where(({ eb, refTuple, tuple }) =>
        eb(refTuple('begin_at', 'id'), '>', tuple(last.begin_at, last.id)),
      );
    return query.execute();
  }

  /**
   * Orders the digests again that the engine has forgotten. They belong to no job, so their images tell: active, without a digest, and one was
   * ordered. One that has ended without a result stays as it is. Returns the ids of the images.
   */
  async restartDigests(): Promise<string[]> {
    const before = new Date(this.clock.now().getTime() - LEAVE_ALONE_MS);
    const { rows } = await sql<{ imageId: string; workflowId: string; outboxId: number }>`
      select i.id as "imageId", o.workflow_id as "workflowId", o.id as "outboxId"
      from image i
      cross join lateral (
        select id, workflow_id, sent_at from outbox where workflow_id = 'image-digest-' || i.id order by id desc limit 1
      ) o
      where i.status = 'active' and i.sha512 is null and i.deleted_at is null
        and i.active_at < ${before} and o.sent_at < ${before}
      order by i.active_at
      limit ${this.batch}`.execute(this.db);
    const restarted: string[] = [];
    for (const { imageId, workflowId, outboxId } of rows) {
      const state = await this.#stateOf(workflowId);
      if (state === 'unknown') break;
      if (state === 'gone' && (await this.#orderAgain(workflowId, outboxId))) restarted.push(imageId);
    }
    return restarted;
  }

  /** Unless another reconciler has. */
  async #orderAgain(workflowId: string, outboxId: number): Promise<boolean> {
    const again = await inTransaction(this.db, async (trx) => {
      await sql`select pg_advisory_xact_lock(hashtext('reconciler'))`.execute(trx);
      const last = await trx
        .selectFrom('outbox')
        .select(['id', 'workflow_type', 'workflow_id', 'task_queue', 'summary', 'input'])
        .where('workflow_id', '=', workflowId)
        .orderBy('id', 'desc')
        .limit(1)
        .executeTakeFirst();
      if (last?.id !== outboxId) return undefined;
      const { id: _, input, ...row } = last;
      return trx
        .insertInto('outbox')
        .values({ ...row, input: JSON.stringify(input), allow_duplicate: true })
        .returning('id')
        .executeTakeFirstOrThrow();
    });
    if (again === undefined) return false;
    this.log.warn({ workflowId }, 'reconciler: digest ordered again');
    await this.starter.startNow(again.id);
    return true;
  }

  async #stateOf(workflowId: string): Promise<EngineState> {
    try {
      const description = await this.temporal.within(DESCRIBE_DEADLINE_MS, () =>
        this.temporal.client.workflow.getHandle(workflowId).describe(),
      );
      return description.status.name === 'RUNNING' || description.status.name === 'CONTINUED_AS_NEW'
        ? 'running'
        : 'ended';
    } catch (err) {
      if (err instanceof WorkflowNotFoundError) return 'gone';
      this.log.warn({ workflowId, error: String(err) }, 'reconciler: the engine does not answer');
      return 'unknown';
    }
  }

  async #restart(job: { id: string; epoch: number }, state: 'gone' | 'ended'): Promise<boolean> {
    const restarted = await inTransaction(this.db, async (trx) => {
      // Two reconcilers: the second one waits here, then sees the raised epoch.
      await sql`select pg_advisory_xact_lock(hashtext('reconciler'))`.execute(trx);
      const current = await trx
        .selectFrom('job')
        .select(['project_id', 'epoch', 'outcome', 'cancel_reason'])
        .where('id', '=', job.id)
        .forUpdate()
        .executeTakeFirst();
      if (current?.outcome !== null || current.epoch !== job.epoch) return undefined;
      const first = await trx
        .selectFrom('outbox')
        .selectAll()
        .where('workflow_id', '=', job.id)
        .orderBy('id', 'desc')
        .executeTakeFirst();
      if (!first) return undefined;
      const epoch = job.epoch + 1;
      const stream = jobStream(toJobId(job.id));
      const reason =
        state === 'gone' ? 'the workflow engine no longer knew the job' : 'its workflow was ended from outside';
      const events: NewEvent[] = [];
      if (state === 'ended' && current.cancel_reason === null) {
        events.push({ stream, key: 'cancel-requested', type: 'job.cancel-requested', data: { reason } });
      }
      events.push({ stream, key: `restarted:${epoch}`, type: 'job.restarted', data: { epoch, reason } });
      await appendEvents(trx, { projectId: current.project_id, actor: SYSTEM, jobId: job.id }, events);
      return trx
        .insertInto('outbox')
        .values({
          workflow_type: first.workflow_type,
          workflow_id: first.workflow_id,
          task_queue: first.task_queue,
          summary: first.summary,
          input: JSON.stringify({ ...asObject(first.input), epoch }),
          allow_duplicate: true,
        })
        .returning('id')
        .executeTakeFirstOrThrow();
    });
    if (!restarted) return false;
    this.log.warn({ jobId: job.id, epoch: job.epoch + 1, state }, 'reconciler: job started again');
    await this.starter.startNow(restarted.id);
    return true;
  }
}

function asObject(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) throw new TypeError('outbox input is no object');
  return { ...value };
}
