import { Injectable } from '@nestjs/common';
import { type RecordedUsageEvent, type Usage, USAGE_EVENTS, usagesOf, type UsageWindow } from '@ims/billing';
import { backupUsageStream, imageId as toImageId, type Meter, type StreamId, usageStream } from '@ims/contract';
import { type Database, type UsagePlace, UsageRepository, type UsageRow } from '@ims/db';
import { Kysely } from 'kysely';

// Records whose events are fetched with one query: few enough that a page of lines does not read far beyond its end.
const BATCH = 100;

export interface UsageQuestion extends UsageWindow {
  projectId: string;
  imageId?: string | undefined;
  meter?: Meter | undefined;
  /** Where to go on. */
  since?: UsagePlace | undefined;
}

/** What was used, as the events tell it. The records say which events these are; they are not asked for anything else. */
@Injectable()
export class UsageReads {
  constructor(private readonly db: Kysely<Database>) {}

  /** Usages of a project within a window, in the order in which they were opened. */
  async *each(question: UsageQuestion): AsyncGenerator<Usage> {
    const records = new UsageRepository(this.db);
    let { since } = question;
    for (;;) {
      const page = await records.page({ ...question, since, limit: BATCH + 1 });
      const wanted = page.slice(0, BATCH);
      yield* await this.#told(wanted);
      const next = page[BATCH];
      if (next === undefined) return;
      since = { openedAt: next.opened_at, id: next.id };
    }
  }

  /** Index `event_stream` of each partition. */
  async #told(records: readonly UsageRow[]): Promise<Usage[]> {
    if (records.length === 0) return [];
    const rows = await this.db
      .selectFrom('event')
      .select(['event_id', 'type', 'occurred_at', 'project_id', 'data'])
      .where('stream_id', 'in', [...new Set(records.map(streamOf))])
      .orderBy('stream_id')
      .orderBy('stream_position')
      .execute();
    const events = rows.flatMap((row): RecordedUsageEvent[] => {
      const type = USAGE_EVENTS.find((known) => known === row.type);
      if (type === undefined) return [];
      const { event_id: eventId, occurred_at: occurredAt, project_id: projectId, data } = row;
      return [{ eventId, type, occurredAt, projectId, data }];
    });
    const usages = new Map(usagesOf(events).map((usage) => [usage.id, usage]));
    // In the order of the records, which pages go by: how Postgres sorts text is its own business.
    return records.flatMap(({ id }) => usages.get(id) ?? []);
  }
}

function streamOf({ id, image_id, backup_id }: UsageRow): StreamId {
  if (backup_id !== null) return backupUsageStream(backup_id);
  if (image_id === null) throw new TypeError(`usage record ${id} is for nothing`);
  return usageStream(toImageId(image_id));
}
