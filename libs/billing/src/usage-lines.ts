import { createHash } from 'node:crypto';
import type { Meter } from '@ims/contract';
import { type Decimal, minus, quotient, sum, times } from './decimal';
import { METER_SPECS, type MeterKind, type MeterSpec } from './meters';
import { type RecordedUsageEvent, type Usage, usagesOf } from './usage-events';

export const HOUR_MS = 3_600_000;
export const GIB = 2 ** 30;

/** From `from` up to, and without, `to`. */
export interface UsageWindow {
  from: Date;
  to: Date;
}

/** What one thing used in one hour, or at once. Never longer than from one whole hour (UTC) to the next (backends F4.2). */
export interface UsageLine {
  /** Follows from meter, resource, begin, end and usage: the same line has the same id whoever asks, and whenever. */
  id: string;
  usageId: string;
  meter: Meter;
  projectId: string;
  imageId: string | null;
  backupId: string | null;
  productCode: string | null;
  begin: Date;
  /** Of what is used up at once, the end of its hour. */
  end: Date;
  /** When it was used up, of what is used up at once. */
  at: Date | null;
  bytes: number;
  quantity: Decimal;
  unit: MeterSpec['unit'];
  /** It will not change any more: its hour is over, or its usage is. */
  isFinal: boolean;
  /** The events that the usage rests on. */
  eventIds: readonly string[];
}

const hourOf = (ms: number): number => Math.floor(ms / HOUR_MS) * HOUR_MS;

/** What has come together within an hour of `ms` so far, rounded: parts of an hour are differences of it, so they add up to the whole hour exactly. */
function sinceHour(kind: MeterKind, bytes: number, ms: number): Decimal {
  switch (kind) {
    case 'kept':
      return quotient(BigInt(bytes) * BigInt(ms), BigInt(GIB) * BigInt(HOUR_MS));
    case 'time':
      return quotient(BigInt(ms), BigInt(HOUR_MS));
    case 'once':
      return quotient(BigInt(bytes), BigInt(GIB));
  }
  return kind satisfies never;
}

const withinHour = (kind: MeterKind, bytes: number, begin: number, end: number): Decimal => {
  const hour = hourOf(begin);
  return minus(sinceHour(kind, bytes, end - hour), sinceHour(kind, bytes, begin - hour));
};

/** The part of a usage that lies in the window, in milliseconds; `undefined` when none does. */
function partOf(usage: Usage, { from, to }: UsageWindow): { begin: number; end: number } | undefined {
  const begin = Math.max(usage.openedAt.getTime(), from.getTime());
  const end = Math.min(usage.closedAt?.getTime() ?? Infinity, to.getTime());
  return begin < end ? { begin, end } : undefined;
}

const isWithin = (at: Date, { from, to }: UsageWindow): boolean => at >= from && at < to;

function lineOf(usage: Usage, begin: number, end: number, quantity: Decimal, at: Date | null): UsageLine {
  const { id: usageId, meter, projectId, imageId, backupId, productCode, bytes, eventIds } = usage;
  const times = { begin: new Date(begin), end: new Date(end) };
  const name = [meter, imageId ?? backupId ?? '', times.begin.toISOString(), times.end.toISOString(), usageId];
  return {
    // As long as the other ids of this API, and long enough that no two lines ever share one.
    id: createHash('sha256').update(JSON.stringify(name)).digest('hex').slice(0, 32),
    usageId,
    meter,
    projectId,
    imageId,
    backupId,
    productCode,
    ...times,
    at,
    bytes,
    quantity,
    unit: METER_SPECS[meter].unit,
    isFinal: at !== null || usage.closedAt !== null || end % HOUR_MS === 0,
    eventIds,
  };
}

/**
 * The lines of one usage within a window, in the order of time. What is used up at once is one line, in the window that holds its moment.
 *
 * @example [...eachLine(usage, { from: midnight, to: noon })].length <= 12
 */
export function* eachLine(usage: Usage, window: UsageWindow): Generator<UsageLine> {
  const { kind } = METER_SPECS[usage.meter];
  if (kind === 'once') {
    if (!isWithin(usage.openedAt, window)) return;
    const hour = hourOf(usage.openedAt.getTime());
    yield lineOf(usage, hour, hour + HOUR_MS, sinceHour(kind, usage.bytes, 0), usage.openedAt);
    return;
  }
  const part = partOf(usage, window);
  if (part === undefined) return;
  for (let { begin } = part; begin < part.end;) {
    const end = Math.min(hourOf(begin) + HOUR_MS, part.end);
    yield lineOf(usage, begin, end, withinHour(kind, usage.bytes, begin, end), null);
    begin = end;
  }
}

/**
 * What events say was used within a window: a function of them alone, so it can be asked again at any time. Lines of neighbouring windows
 * add up to those of both together, exactly; windows that meet on whole hours have the very same lines.
 */
export const linesOf = (events: Iterable<RecordedUsageEvent>, window: UsageWindow): UsageLine[] =>
  usagesOf(events).flatMap((usage) => [...eachLine(usage, window)]);

/** The sum of the quantities of a usage's lines within a window, without making them: a year has 8,760. */
export function quantityOf(usage: Usage, window: UsageWindow): Decimal {
  const { kind } = METER_SPECS[usage.meter];
  if (kind === 'once') return isWithin(usage.openedAt, window) ? sinceHour(kind, usage.bytes, 0) : '0';
  const part = partOf(usage, window);
  if (part === undefined) return '0';
  const first = Math.min(hourOf(part.begin) + HOUR_MS, part.end);
  const last = Math.max(hourOf(part.end), first);
  return sum([
    withinHour(kind, usage.bytes, part.begin, first),
    times(sinceHour(kind, usage.bytes, HOUR_MS), String((last - first) / HOUR_MS)),
    ...(last < part.end ? [withinHour(kind, usage.bytes, last, part.end)] : []),
  ]);
}
