import { type JobId, SERVICE_PROJECT, SYSTEM } from '@ims/contract';
import { type Clock, type Database, inTransaction, OutboxRepository } from '@ims/db';
import { decideCollectStore } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { type Kysely, sql } from 'kysely';
import { freshJobId } from './fresh-job-id';
import type { JobStarter } from './job-starter';
import { jobOutbox } from './outbox';

export interface CollectionParts {
  db: Kysely<Database>;
  starter: Pick<JobStarter, 'startNow'>;
  clock: Clock;
  region: string;
  /** Whether the store holds anything that nobody needs. */
  isDue(): Promise<boolean>;
}

/** Orders passes of the collector as jobs of the service itself; they survive the engine like all jobs do. */
export class StoreCollection {
  constructor(private readonly parts: CollectionParts) {}

  /**
   * Accepts a pass when it is time for one, and starts it. Any number of callers at once order one.
   *
   * @param isByHand whatever the time is; a pass under way still stands against it
   * @returns the id of its job; `undefined` when none was ordered
   */
  async order({ isByHand = false }: { isByHand?: boolean } = {}): Promise<JobId | undefined> {
    const { db, starter, clock, region } = this.parts;
    const isDue = await this.parts.isDue();
    const ordered = await inTransaction(db, async (trx) => {
      await sql`select pg_advisory_xact_lock(hashtextextended('store-collect', 0))`.execute(trx);
      const last = await trx
        .selectFrom('job')
        .select(['begin_at', 'outcome'])
        .where('project_id', '=', SERVICE_PROJECT)
        .where('saga', '=', 'store-collect')
        .orderBy('begin_at', 'desc')
        .orderBy('id')
        .limit(1)
        .executeTakeFirst();
      const jobId = freshJobId();
      const decision = decideCollectStore(
        { last: last && { acceptedAt: last.begin_at, outcome: last.outcome }, isDue },
        { jobId, now: clock.now(), isByHand },
      );
      if (decision === undefined) return undefined;
      await appendEvents(trx, { projectId: SERVICE_PROJECT, actor: SYSTEM, jobId }, decision.events, clock);
      const outboxId = await new OutboxRepository(trx).add(
        jobOutbox({ type: 'storeCollect', input: decision.input, summary: 'Collect the image store' }, region),
      );
      return { jobId, outboxId };
    });
    if (ordered === undefined) return undefined;
    await starter.startNow(ordered.outboxId);
    return ordered.jobId;
  }
}
