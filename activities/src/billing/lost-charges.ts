import { SYSTEM } from '@ims/contract';
import { chargeOf, type Clock, type Database, inTransaction, UsageRepository, type UsageRow } from '@ims/db';
import { closeCharge } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import type { BackupsPort } from '@ims/neighbours';
import type { Kysely } from 'kysely';

// Each is a question to the backup service: few enough that a pass takes well under a second.
const BATCH = 50;

/**
 * Charges for backups that are gone. A backup and its charge end by two acts: whoever deletes it may die between them, and the backup service may
 * be told to delete it by others. Nobody pays on for it in either case.
 */
export class LostCharges {
  #after = '';

  constructor(
    private readonly db: Kysely<Database>,
    private readonly backups: Pick<BackupsPort, 'get'>,
    private readonly clock: Clock,
  ) {}

  /** Looks at some of the backups that are charged, going on where the last pass stopped. Returns the ids of the records that it ended. */
  async pass(): Promise<string[]> {
    const charged = await new UsageRepository(this.db).openOfBackups({ after: this.#after, limit: BATCH });
    const ended: string[] = [];
    for (const record of charged) {
      const { backup_id: backupId, project_id: projectId } = record;
      if (backupId === null || (await this.backups.get(projectId, backupId)) !== undefined) continue;
      if (await this.#end(record, backupId)) ended.push(record.id);
    }
    this.#after = (charged.length < BATCH ? undefined : charged.at(-1)?.backup_id) ?? '';
    return ended;
  }

  async #end({ id, project_id: projectId }: UsageRow, backupId: string): Promise<boolean> {
    return inTransaction(this.db, async (trx) => {
      const usages = new UsageRepository(trx);
      const charged = await usages.lockOpenOfBackup(backupId);
      // Its job undoes it: what is taken back never was, and must not become what has been used.
      if (charged?.id !== id || (await usages.isBackupInWork(backupId))) return false;
      await appendEvents(trx, { projectId, actor: SYSTEM }, [closeCharge(chargeOf(charged), null)], this.clock);
      return true;
    });
  }
}
