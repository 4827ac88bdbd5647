import type { Kysely, Selectable } from 'kysely';
import type { Database } from '../db-types';

export type UsageRow = Selectable<Database['usage_record']>;

/** Usage records: reads of the projection `usage_record`. */
export class UsageRepository {
  constructor(private readonly db: Kysely<Database>) {}

  /** Records of an image that are neither closed nor voided. Index `usage_record_image`. */
  async findOpen(imageId: string): Promise<UsageRow[]> {
    return this.db
      .selectFrom('usage_record')
      .selectAll()
      .where('image_id', '=', imageId)
      .where('closed_at', 'is', null)
      .where('voided_at', 'is', null)
      .orderBy('opened_at')
      .orderBy('id')
      .execute();
  }
}
