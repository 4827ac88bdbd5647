import { Inject, Injectable } from '@nestjs/common';
import { chargeOf, type Clock, type Database, inTransaction, UsageRepository } from '@ims/db';
import { closeCharge } from '@ims/domain';
import { appendEvents } from '@ims/event-log';
import { Kysely } from 'kysely';
import { eventContext } from '../access/event-context';
import type { Call } from '../access/permits';
import { CLOCK } from '../http/injection-tokens';

/** What backups keep in their vaults is charged until they are deleted (BIL-03). */
@Injectable()
export class BackupCharges {
  constructor(
    private readonly db: Kysely<Database>,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  /** Ends the charge for a backup of the caller's project; nothing where there is none. */
  async end(caller: Call, backupId: string): Promise<void> {
    await inTransaction(this.db, async (trx) => {
      const charged = await new UsageRepository(trx).lockOpenOfBackup(backupId);
      if (charged?.project_id !== caller.projectId) return;
      await appendEvents(trx, eventContext(caller), [closeCharge(chargeOf(charged), null)], this.clock);
    });
  }
}
