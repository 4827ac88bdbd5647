import { HttpStatus, Inject, Injectable } from '@nestjs/common';
import type { EstimatedJob } from '@ims/billing';
import { type JobId, jobStream, type QuotaResource } from '@ims/contract';
import { type Clock, type Database, inTransaction, OutboxRepository, QuotaRepository, type QuotaState } from '@ims/db';
import type { DomainEvent } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { type JobWorkflow, jobOutbox } from '@ims/job-engine';
import { Kysely, type Transaction } from 'kysely';
import { eventContext } from '../access/event-context';
import type { Call } from '../access/permits';
import { GatewayConfig } from '../config';
import { Answer } from '../http/answer';
import { DryRunEnd, type DryRunPlan } from '../http/dry-run';
import { CLOCK } from '../http/injection-tokens';
import { keepAnswer } from '../idempotency/kept-answer';
import { JobEstimates } from '../usage/job-estimates';
import { accepted as acceptedTask } from './accepted';
import { EngineCalls } from './engine-calls';

/** For what is asked before the quotas are known: they are no reason yet. */
export const UNLIMITED: QuotaState = { limit: Infinity, used: 0, reserved: 0 };

/** What is known of a job's size and price before it is done, for calls that are only tried. */
export type Foreseen = Partial<Omit<EstimatedJob, 'saga'>>;

/** What was decided on a call that starts jobs. */
export interface AcceptedJob {
  jobId: JobId;
  events: DomainEvent[];
  /** The job's own workflow last, after those of its parts. */
  starts: JobWorkflow[];
  /** What the call is answered with, where that is more than the id of the job; `null` where it is known only afterwards. */
  answer?: object | null;
  /** Asked for a call that is only tried; nothing is known beforehand when left out. */
  foreseen?(): Foreseen | Promise<Foreseen>;
}

export interface Deciding<R extends QuotaResource> {
  /** Quotas that the decision is about: nobody else decides about the project's meanwhile. None where there are none to ask. */
  quotas?: readonly R[];
  /** Decides inside the transaction in which the decision is recorded; a refusal is thrown and leaves nothing. */
  decide(quotas: Record<R, QuotaState>, trx: Transaction<Database>): AcceptedJob | Promise<AcceptedJob>;
}

/** The one way to a job (design 3.3): decided and recorded in one transaction, its workflow in the outbox; started after the commit. */
@Injectable()
export class JobAcceptance {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly engine: EngineCalls,
    private readonly config: GatewayConfig,
    private readonly estimates: JobEstimates,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /**
   * @returns the id of the job
   * @throws ImsError whatever `decide` refuses with
   * @throws DryRunEnd for a call that is only tried: everything was decided and recorded, and is taken back
   */
  async accept<R extends QuotaResource = never>(caller: Call, { quotas = [], decide }: Deciding<R>): Promise<JobId> {
    const { jobId, outboxIds } = await inTransaction(this.db, async (trx) => {
      // A job that asks for no quota does not queue for the project's.
      const states =
        quotas.length === 0
          ? ({} as Record<R, QuotaState>) // No resource is asked for, so none is read.
          : await QuotaRepository.lock(trx, caller.projectId, quotas);
      const accepted = await decide(states, trx);
      await appendEvents(trx, eventContext(caller, { jobId: accepted.jobId }), accepted.events, this.clock);
      if (accepted.answer !== null) await keepAnswer(trx, caller, this.clock, answerOf(caller, accepted));
      if (caller.isDryRun) throw new DryRunEnd(await this.#planOf(accepted));
      const outbox = new OutboxRepository(trx);
      const ids: number[] = [];
      for (const workflow of accepted.starts) ids.push(await outbox.add(jobOutbox(workflow, this.config.region)));
      return { jobId: accepted.jobId, outboxIds: ids };
    });
    await Promise.all(outboxIds.map((id) => this.engine.start(id)));
    return jobId;
  }

  async #planOf(accepted: AcceptedJob): Promise<DryRunPlan> {
    const { jobId, events, starts } = accepted;
    const foreseen = (await accepted.foreseen?.()) ?? {};
    const bytes = foreseen.bytes ?? null;
    for (const event of events) {
      if (event.type !== 'job.accepted' || event.stream !== jobStream(jobId)) continue;
      const { jobType, steps, saga } = event.data;
      return {
        job_type: jobType,
        steps,
        sub_jobs: starts.length - 1,
        bytes: { source: bytes },
        // The parts of a job are what makes images.
        cost: this.estimates.estimate({ ...foreseen, bytes, saga: saga === 'image-batch' ? 'image-create' : saga }),
      };
    }
    throw new Error(`job ${jobId} was decided on without being accepted`);
  }
}

/** What the route will answer with; of it a repeated call is answered if this process dies first. */
function answerOf(caller: Call, { jobId, answer }: AcceptedJob): Answer {
  const status = caller.operation?.status ?? HttpStatus.OK;
  if (answer == null && status === Number(HttpStatus.ACCEPTED)) return acceptedTask(caller, jobId);
  return new Answer(status, answer ?? { job_id: jobId });
}
