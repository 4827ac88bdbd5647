import type { Meter } from '@ims/contract';
import fc from 'fast-check';
import { sum } from './decimal';
import { METER_SPECS } from './meters';
import { type RecordedUsageEvent, usagesOf } from './usage-events';
import { HOUR_MS, linesOf, quantityOf, type UsageLine, type UsageWindow } from './usage-lines';

const PROJECT = '0'.repeat(31) + '1';
const IMAGE = '11111111-1111-4111-8111-111111111111';
const GIB = 2 ** 30;

const at = (text: string): Date => new Date(text);
const window = (from: string, to: string): UsageWindow => ({ from: at(from), to: at(to) });

let events = 0;
const event = (type: RecordedUsageEvent['type'], occurredAt: Date, data: object): RecordedUsageEvent => ({
  eventId: `event-${(events += 1)}`,
  type,
  occurredAt,
  projectId: PROJECT,
  data,
});
const opened = (when: Date, meter: Meter, quantityBytes: number, more: object = {}): RecordedUsageEvent =>
  event('usage.opened', when, { usageId: `${meter}:${IMAGE}`, imageId: IMAGE, meter, quantityBytes, ...more });
const closed = (when: Date, meter: Meter): RecordedUsageEvent =>
  event('usage.closed', when, { usageId: `${meter}:${IMAGE}` });
const voided = (when: Date, meter: Meter): RecordedUsageEvent =>
  event('usage.voided', when, { usageId: `${meter}:${IMAGE}` });

const total = (lines: readonly UsageLine[]): string => sum(lines.map(({ quantity }) => quantity));

describe('linesOf', () => {
  it('cuts what is kept at every whole hour, and says how much came together in each (backends F4.2)', () => {
    const meter = 'backup.storage';
    const story = [opened(at('2026-03-01T09:30:00Z'), meter, 2 * GIB), closed(at('2026-03-01T11:15:00Z'), meter)];
    const lines = linesOf(story, window('2026-03-01T00:00:00Z', '2026-03-02T00:00:00Z'));
    expect(lines.map(({ begin, end, quantity }) => [begin.toISOString(), end.toISOString(), quantity])).toEqual([
      ['2026-03-01T09:30:00.000Z', '2026-03-01T10:00:00.000Z', '1'],
      ['2026-03-01T10:00:00.000Z', '2026-03-01T11:00:00.000Z', '2'],
      ['2026-03-01T11:00:00.000Z', '2026-03-01T11:15:00.000Z', '0.5'],
    ]);
    expect(lines.every(({ eventIds }) => eventIds.length === 2)).toBe(true);
  });

  it('counts the hours of a marketplace image, whatever its size (BIL-05)', () => {
    const meter = 'market.image';
    const story = [opened(at('2026-03-01T09:30:00Z'), meter, 500 * GIB, { productCode: 'db-1' })];
    const lines = linesOf(story, window('2026-03-01T00:00:00Z', '2026-03-01T11:00:00Z'));
    expect(lines.map(({ quantity, unit, productCode }) => [quantity, unit, productCode])).toEqual([
      ['0.5', 'Hours', 'db-1'],
      ['1', 'Hours', 'db-1'],
    ]);
  });

  it('has one line for what is used up at once, in the window that holds its moment (BIL-10)', () => {
    const data = { usageId: 'traffic:1', imageId: IMAGE, meter: 'replication.traffic', quantityBytes: GIB / 2 };
    const story = [event('usage.recorded', at('2026-03-01T09:59:59.999Z'), data)];
    const [line, ...others] = linesOf(story, window('2026-03-01T09:00:00Z', '2026-03-01T10:00:00Z'));
    expect(others).toEqual([]);
    expect(line).toMatchObject({ quantity: '0.5', unit: 'GB', bytes: GIB / 2, isFinal: true });
    expect(line?.begin).toEqual(at('2026-03-01T09:00:00Z'));
    expect(line?.end).toEqual(at('2026-03-01T10:00:00Z'));
    expect(linesOf(story, window('2026-03-01T10:00:00Z', '2026-03-01T11:00:00Z'))).toEqual([]);
  });

  it('says of the hour that is not over that it is not final', () => {
    const story = [opened(at('2026-03-01T09:30:00Z'), 'image.storage', GIB)];
    const lines = linesOf(story, window('2026-03-01T09:00:00Z', '2026-03-01T10:20:00Z'));
    expect(lines.map(({ isFinal }) => isFinal)).toEqual([true, false]);
  });

  it('charges nothing of what was voided, and nothing negative when the clock was set back (T2)', () => {
    const meter = 'backup.storage';
    const begin = at('2026-03-01T09:30:00Z');
    const day = window('2026-03-01T00:00:00Z', '2026-03-02T00:00:00Z');
    expect(linesOf([opened(begin, meter, GIB), voided(at('2026-03-01T12:00:00Z'), meter)], day)).toEqual([]);
    expect(linesOf([opened(begin, meter, GIB), closed(at('2026-03-01T08:00:00Z'), meter)], day)).toEqual([]);
  });

  it.each([
    ['a leap day', '2028-02-28T00:00:00Z', '2028-03-01T00:00:00Z', 48],
    ['no leap day', '2027-02-28T00:00:00Z', '2027-03-01T00:00:00Z', 24],
    ['the end of a year', '2026-12-31T23:00:00Z', '2027-01-01T01:00:00Z', 2],
    ['the change to summer time, which UTC does not know', '2026-03-29T00:00:00Z', '2026-03-30T00:00:00Z', 24],
  ])('has %s hour by hour', (_name, from, to, hours) => {
    const lines = linesOf([opened(at('2025-01-01T00:00:00Z'), 'backup.storage', GIB)], window(from, to));
    expect(lines).toHaveLength(hours);
    expect(total(lines)).toBe(String(hours));
  });
});

describe('linesOf, whatever happens', () => {
  const START = Date.UTC(2026, 11, 30, 20);
  const moment = fc.integer({ min: 0, max: 60 * HOUR_MS }).map((ms) => new Date(START + ms));
  const meter = fc.constantFrom<Meter>('image.storage', 'backup.storage', 'market.image');
  const bytes = fc.integer({ min: 0, max: 2 ** 44 });
  // What a stream can hold: opened, then closed or voided or neither, at any time, also one before the other.
  const story = fc
    .record({ meter, bytes, begin: moment, end: moment, fate: fc.constantFrom('open', 'closed', 'voided') })
    .map(({ meter: name, bytes: size, begin, end, fate }) => [
      opened(begin, name, size),
      ...(fate === 'closed' ? [closed(end, name)] : fate === 'voided' ? [voided(end, name)] : []),
    ]);
  const edges = fc
    .uniqueArray(moment, { minLength: 2, maxLength: 8, selector: (edge) => edge.getTime() })
    .map((list) => list.toSorted((a, b) => a.getTime() - b.getTime()));

  it('adds up: the lines of any partition of a time have exactly the sum of the whole', () => {
    fc.assert(
      fc.property(story, edges, (told, cuts) => {
        const [first, last] = [cuts.at(0), cuts.at(-1)];
        if (first === undefined || last === undefined) throw new Error('a partition has edges');
        const parts = cuts.slice(1).flatMap((to, index) => linesOf(told, { from: cuts[index] ?? first, to }));
        expect(total(parts)).toBe(total(linesOf(told, { from: first, to: last })));
      }),
      { numRuns: 300 },
    );
  });

  it('has the very same lines, by id, in whole hours asked one by one', () => {
    fc.assert(
      fc.property(story, (told) => {
        const hours = Array.from({ length: 61 }, (_, index) => new Date(START + index * HOUR_MS));
        const [first, last] = [new Date(START), new Date(START + 60 * HOUR_MS)];
        const oneByOne = hours.slice(1).flatMap((to, index) => linesOf(told, { from: hours[index] ?? first, to }));
        expect(oneByOne).toEqual(linesOf(told, { from: first, to: last }));
        expect(new Set(oneByOne.map(({ id }) => id)).size).toBe(oneByOne.length);
      }),
      { numRuns: 100 },
    );
  });

  it('never spans an hour, never is negative, never leaves its window', () => {
    fc.assert(
      fc.property(story, moment, moment, (told, from, to) => {
        for (const line of linesOf(told, { from, to })) {
          const [begin, end] = [line.begin.getTime(), line.end.getTime()];
          expect(begin).toBeLessThan(end);
          expect(Math.floor(begin / HOUR_MS)).toBe(Math.floor((end - 1) / HOUR_MS));
          expect(Number(line.quantity)).toBeGreaterThanOrEqual(0);
          expect([begin >= from.getTime(), end <= to.getTime()]).toEqual([true, true]);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('is summed without its lines to the same quantity', () => {
    fc.assert(
      fc.property(story, moment, moment, (told, from, to) => {
        const quick = sum(usagesOf(told).map((usage) => quantityOf(usage, { from, to })));
        expect(quick).toBe(total(linesOf(told, { from, to })));
      }),
      { numRuns: 300 },
    );
  });

  it('has a table row for every meter', () => {
    expect(Object.values(METER_SPECS).every(({ what, sku }) => what !== '' && sku !== '')).toBe(true);
    expect(new Set(Object.values(METER_SPECS).map(({ sku }) => sku)).size).toBe(Object.keys(METER_SPECS).length);
  });
});
