import type { Insertable, Kysely, Selectable } from 'kysely';
import type { Database } from '../db-types';

export type OutboxRow = Selectable<Database['outbox']>;

/** Workflows to be started: written in the transaction that makes them necessary, sent after its commit. */
export class OutboxRepository {
  constructor(private readonly db: Kysely<Database>) {}

  /** Adds a row and returns its id; on a repository made for the caller's transaction. */
  async add(row: Insertable<Database['outbox']>): Promise<number> {
    const { id } = await this.db.insertInto('outbox').values(row).returning('id').executeTakeFirstOrThrow();
    return id;
  }

  async find(id: number): Promise<OutboxRow | undefined> {
    return this.db.selectFrom('outbox').selectAll().where('id', '=', id).executeTakeFirst();
  }

  /** Oldest rows not sent yet. Index `outbox_unsent`. */
  async listUnsent(limit: number): Promise<OutboxRow[]> {
    return this.db.selectFrom('outbox').selectAll().where('sent_at', 'is', null).orderBy('id').limit(limit).execute();
  }

  /** Notes that the engine has it. The first time stays when two senders meet. */
  async markSent(id: number, at: Date): Promise<void> {
    await this.db
      .updateTable('outbox')
      .set({ sent_at: at })
      .where('id', '=', id)
      .where('sent_at', 'is', null)
      .execute();
  }
}
