import { WorkflowExecutionAlreadyStartedError } from '@temporalio/client';
import type { Clock, Database } from '@ims/db';
import { inTransaction } from '@ims/db';
import type { Kysely } from 'kysely';
import type { Temporal } from './temporal';

export interface EngineLog {
  info(details: Record<string, unknown>, message: string): void;
  warn(details: Record<string, unknown>, message: string): void;
  error(details: Record<string, unknown>, message: string): void;
}

// A start that takes longer than this is left to the relay; the submitter has its durable job already.
const START_DEADLINE_MS = 2_500;
// Rows younger than this are probably being started by the request that wrote them.
const RELAY_AFTER_MS = 2_000;
const RELAY_BATCH = 50;

/** Starts what the outbox holds. Started twice is started once: the workflow id is the job id. */
export class JobStarter {
  constructor(
    private readonly db: Kysely<Database>,
    private readonly temporal: Temporal,
    private readonly clock: Clock,
    private readonly log: EngineLog,
  ) {}

  /** Right after the commit. Engine trouble is logged and left to the relay; the job is accepted either way (I1). */
  async startNow(outboxId: number): Promise<void> {
    try {
      const row = await this.db.selectFrom('outbox').selectAll().where('id', '=', outboxId).executeTakeFirst();
      if (!row || row.sent_at !== null) return;
      await this.#start(row);
      await this.#markSent([outboxId]);
    } catch (err) {
      this.log.warn({ outboxId, error: String(err) }, 'workflow not started yet; the relay will do it');
    }
  }

  /** Starts whatever nobody has started. Returns how many were sent; several relays at once share the rows. */
  async relay(): Promise<number> {
    return inTransaction(this.db, async (trx) => {
      const rows = await trx
        .selectFrom('outbox')
        .selectAll()
        .where('sent_at', 'is', null)
        .where('created_at', '<', new Date(this.clock.now().getTime() - RELAY_AFTER_MS))
        .orderBy('id')
        .limit(RELAY_BATCH)
        .forUpdate()
        .skipLocked()
        .execute();
      const sent: number[] = [];
      for (const row of rows) {
        try {
          await this.#start(row);
          sent.push(row.id);
        } catch (err) {
          this.log.warn({ outboxId: row.id, workflowId: row.workflow_id, error: String(err) }, 'relay: start failed');
          // The engine is down: the other rows would only wait for the same deadline.
          break;
        }
      }
      if (sent.length > 0) {
        await trx.updateTable('outbox').set({ sent_at: this.clock.now() }).where('id', 'in', sent).execute();
      }
      return sent.length;
    });
  }

  /** Asks the engine to cancel; the steps themselves see the request in the job's row, so a lost call is not lost work. */
  async cancel(workflowId: string): Promise<void> {
    try {
      await this.temporal.within(START_DEADLINE_MS, () => this.temporal.client.workflow.getHandle(workflowId).cancel());
    } catch (err) {
      this.log.warn({ workflowId, error: String(err) }, 'cancellation not delivered yet');
    }
  }

  async #start(row: {
    workflow_type: string;
    workflow_id: string;
    task_queue: string;
    input: unknown;
    summary: string;
    allow_duplicate: boolean;
  }): Promise<void> {
    try {
      await this.temporal.within(START_DEADLINE_MS, () =>
        this.temporal.client.workflow.start(row.workflow_type, {
          workflowId: row.workflow_id,
          taskQueue: row.task_queue,
          args: [row.input],
          workflowIdConflictPolicy: 'USE_EXISTING',
          workflowIdReusePolicy: row.allow_duplicate ? 'ALLOW_DUPLICATE' : 'REJECT_DUPLICATE',
          staticSummary: row.summary,
        }),
      );
    } catch (err) {
      if (!(err instanceof WorkflowExecutionAlreadyStartedError)) throw err;
    }
  }

  async #markSent(ids: number[]): Promise<void> {
    await this.db.updateTable('outbox').set({ sent_at: this.clock.now() }).where('id', 'in', ids).execute();
  }
}
