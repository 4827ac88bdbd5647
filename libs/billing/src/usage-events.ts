import { EVENTS, type Meter, METERS } from '@ims/contract';
import { z } from 'zod';

/** The event types that usage is made of, and nothing else is. */
export const USAGE_EVENTS = ['usage.opened', 'usage.closed', 'usage.voided', 'usage.recorded'] as const;
export type UsageEventType = (typeof USAGE_EVENTS)[number];

/** What is known of an event of a usage stream. */
export interface RecordedUsageEvent {
  eventId: string;
  type: UsageEventType;
  occurredAt: Date;
  projectId: string;
  data: unknown;
}

/** One thing that is charged or counted: from when to when, or at once. */
export interface Usage {
  id: string;
  meter: Meter;
  projectId: string;
  imageId: string | null;
  backupId: string | null;
  productCode: string | null;
  bytes: number;
  openedAt: Date;
  /** `null` while it goes on. Never before it was opened: a clock that was set back makes nothing negative. */
  closedAt: Date | null;
  /** The events that it rests on. */
  eventIds: readonly string[];
}

const meter = z.enum(METERS);

/**
 * The usages that events tell of, in the order in which they began. What was voided never was. Events of one stream come in its order; an
 * event that closes what is not open changes nothing.
 *
 * @throws z.ZodError on an event that is none of the catalogue
 */
export function usagesOf(events: Iterable<RecordedUsageEvent>): Usage[] {
  const usages = new Map<string, Usage>();
  for (const event of events) {
    const { occurredAt, projectId, eventId } = event;
    switch (event.type) {
      case 'usage.opened': {
        const { usageId: id, backupId = null, productCode = null, ...data } = EVENTS[event.type].parse(event.data);
        const facts = { meter: meter.parse(data.meter), imageId: data.imageId, bytes: data.quantityBytes };
        const times = { openedAt: occurredAt, closedAt: null };
        usages.set(id, { id, projectId, ...facts, backupId, productCode, ...times, eventIds: [eventId] });
        break;
      }
      case 'usage.recorded': {
        const { usageId: id, imageId, quantityBytes, ...data } = EVENTS[event.type].parse(event.data);
        const facts = { meter: data.meter, imageId, bytes: quantityBytes, backupId: null, productCode: null };
        const times = { openedAt: occurredAt, closedAt: occurredAt };
        usages.set(id, { id, projectId, ...facts, ...times, eventIds: [eventId] });
        break;
      }
      case 'usage.closed': {
        const { usageId } = EVENTS[event.type].parse(event.data);
        const usage = usages.get(usageId);
        if (usage?.closedAt !== null) break;
        const closedAt = occurredAt < usage.openedAt ? usage.openedAt : occurredAt;
        usages.set(usageId, { ...usage, closedAt, eventIds: [...usage.eventIds, eventId] });
        break;
      }
      case 'usage.voided':
        usages.delete(EVENTS[event.type].parse(event.data).usageId);
        break;
      default:
        event.type satisfies never;
    }
  }
  return [...usages.values()].toSorted(
    (a, b) => a.openedAt.getTime() - b.openedAt.getTime() || (a.id < b.id ? -1 : Number(a.id > b.id)),
  );
}
