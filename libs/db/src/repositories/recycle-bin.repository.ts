import type { Kysely } from 'kysely';
import type { Database } from '../db-types';
import type { ImageRow } from './images.repository';

/** Images that were deleted and can still be restored, and how long they stay: reads of the projections `image` and `recycle_bin`. */
export class RecycleBinRepository {
  constructor(private readonly db: Kysely<Database>) {}

  /** Days that the project has chosen; `null` where it has chosen none. Primary key. */
  async retentionDays(projectId: string): Promise<number | null> {
    const row = await this.db
      .selectFrom('recycle_bin')
      .select('retention_days')
      .where('project_id', '=', projectId)
      .executeTakeFirst();
    return row?.retention_days ?? null;
  }

  /** What is in the project's bin, what came last first. Index `image_bin`. */
  async list(projectId: string, page: { limit: number; marker?: string | undefined }): Promise<ImageRow[]> {
    const { limit, marker } = page;
    let query = this.#binned().where('project_id', '=', projectId);
    if (marker !== undefined) {
      const last = await this.#binned().where('project_id', '=', projectId).where('id', '=', marker).executeTakeFirst();
      if (last === undefined) return [];
      query = query.where((eb) => eb(eb.refTuple('binned_at', 'id'), '<', eb.tuple(last.binned_at, last.id)));
    }
    return query.orderBy('binned_at', 'desc').orderBy('id', 'desc').limit(limit).execute();
  }

  /** Images whose time in the bin is over and that nothing holds, the longest overdue first. Index `image_purge`. */
  async overdue(at: Date, limit: number): Promise<Pick<ImageRow, 'id' | 'project_id'>[]> {
    return this.db
      .selectFrom('image')
      .select(['id', 'project_id'])
      .where('binned_at', 'is not', null)
      .where('deleted_at', 'is', null)
      .where('held_at', 'is', null)
      .where('purge_after', '<=', at)
      .orderBy('purge_after')
      .limit(limit)
      .execute();
  }

  #binned() {
    return this.db.selectFrom('image').selectAll().where('binned_at', 'is not', null).where('deleted_at', 'is', null);
  }
}
