import { Inject, Injectable } from '@nestjs/common';
import type { JobId } from '@ims/contract';
import { type Clock, type Database, inTransaction, OutboxRepository } from '@ims/db';
import type { DomainEvent, UsableImage } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { freshJobId, type JobWorkflow, jobOutbox } from '@ims/job-engine';
import { derivedId, findUsableImage } from '@ims/neighbours';
import { Kysely } from 'kysely';
import { eventContext } from '../access/event-context';
import type { Call } from '../access/permits';
import { GatewayConfig } from '../config';
import { CLOCK } from '../http/injection-tokens';
import { EngineCalls } from '../jobs/engine-calls';

/** What a decision on servers or disks is made with: the job, and ids that follow from it. */
export interface CloudJobIds {
  jobId: JobId;
  idOf(name: string): string;
}

/** Accepts jobs on what belongs to the neighbours, servers, disks and backups: decided, recorded in one transaction, then started (design 3). */
@Injectable()
export class CloudJobs {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly engine: EngineCalls,
    private readonly config: GatewayConfig,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  newIds(): CloudJobIds {
    const id = freshJobId();
    return { jobId: id, idOf: (name) => derivedId(id, name) };
  }

  /** An image that the caller may use; `undefined` when there is none of that id for it. */
  async imageFor(caller: Call, imageId: string): Promise<UsableImage | undefined> {
    return (await findUsableImage(this.db, caller.projectId, imageId))?.image;
  }

  async accept(
    caller: Call,
    decided: { events: DomainEvent[]; input: JobWorkflow['input'] & { name: string } },
    type: 'serverCreate' | 'volumeCreate' | 'cloudChange' | 'serverBackup',
    summary: string = decided.input.name,
  ): Promise<void> {
    const { events, input } = decided;
    const outboxId = await inTransaction(this.db, async (trx) => {
      await appendEvents(trx, eventContext(caller, { jobId: input.jobId }), events, this.clock);
      return new OutboxRepository(trx).add(jobOutbox({ type, input, summary }, this.config.region));
    });
    await this.engine.start(outboxId);
  }
}
