import { backupUsageStream } from '@ims/contract';
import type { Kysely, Selectable } from 'kysely';
import type { Database } from '../db-types';

export type UsageRow = Selectable<Database['usage_record']>;

/** The record as what it takes to end the charge. */
export const chargeOf = (row: Pick<UsageRow, 'id' | 'backup_id'>): { usageId: string; backupId: string | null } => ({
  usageId: row.id,
  backupId: row.backup_id,
});

/** Place of a record in the order of a project's records. */
export interface UsagePlace {
  openedAt: Date;
  id: string;
}

export interface UsagePageRequest {
  projectId: string;
  /** Records of which some time lies from `from` up to, and without, `to`. */
  from: Date;
  to: Date;
  imageId?: string | undefined;
  meter?: string | undefined;
  /** The page begins with the record at this place, or the next one. */
  since?: UsagePlace | undefined;
  limit: number;
}

/** Usage records: reads of the projection `usage_record`. */
export class UsageRepository {
  constructor(private readonly db: Kysely<Database>) {}

  /** Records of an image that are neither closed nor voided. Index `usage_record_image`. */
  async findOpen(imageId: string): Promise<UsageRow[]> {
    return this.#open().where('image_id', '=', imageId).orderBy('opened_at').orderBy('id').execute();
  }

  /** The record by which a backup is charged now; there is never more than one. Index `usage_record_backup`. */
  async findOpenOfBackup(backupId: string): Promise<UsageRow | undefined> {
    return this.#open().where('backup_id', '=', backupId).executeTakeFirst();
  }

  /**
   * The same for whoever is about to end it, in a transaction: of several exactly one finds it, the others wait and find none. Index
   * `usage_record_backup`.
   */
  async lockOpenOfBackup(backupId: string): Promise<UsageRow | undefined> {
    return this.#open().where('backup_id', '=', backupId).forUpdate().executeTakeFirst();
  }

  /** Records by which backups are charged that no image answers for, in the order of the backups behind `after`. Index `usage_record_backup`. */
  async openOfBackups({ after, limit }: { after: string; limit: number }): Promise<UsageRow[]> {
    return this.#open()
      .where('backup_id', '>', after)
      .where('image_id', 'is', null)
      .orderBy('backup_id')
      .limit(limit)
      .execute();
  }

  /** Whether a job that has not ended has had to do with the charge for a backup: it may still take back what it said. Index `event_stream`. */
  async isBackupInWork(backupId: string): Promise<boolean> {
    const job = await this.db
      .selectFrom('event')
      .innerJoin('job', 'job.id', 'event.job_id')
      .select('job.id')
      .where('event.stream_id', '=', backupUsageStream(backupId))
      .where('job.outcome', 'is', null)
      .limit(1)
      .executeTakeFirst();
    return job !== undefined;
  }

  /** Records of a project that were not voided, in the order in which they were opened. Index `usage_record_project`. */
  async page({ projectId, from, to, imageId, meter, since, limit }: UsagePageRequest): Promise<UsageRow[]> {
    let query = this.db
      .selectFrom('usage_record')
      .selectAll()
      .where('project_id', '=', projectId)
      .where('voided_at', 'is', null)
      .where('opened_at', '<', to)
      // What is used up at once is closed as it is opened, so its moment counts.
      .where((eb) => eb.or([eb('closed_at', 'is', null), eb('closed_at', '>=', from)]))
      .orderBy('opened_at')
      .orderBy('id')
      .limit(limit);
    if (imageId !== undefined) query = query.where('image_id', '=', imageId);
    if (meter !== undefined) query = query.where('meter', '=', meter);
    if (since !== undefined) {
      query = query.where((eb) => eb(eb.refTuple('opened_at', 'id'), '>=', eb.tuple(since.openedAt, since.id)));
    }
    return query.execute();
  }

  #open() {
    return this.db.selectFrom('usage_record').selectAll().where('closed_at', 'is', null).where('voided_at', 'is', null);
  }
}
