import { Readable } from 'node:stream';
import { Inject, Injectable } from '@nestjs/common';
import {
  eachLine,
  focusHeader,
  focusRow,
  HOUR_MS,
  METER_SPECS,
  priced,
  type PricedLine,
  type Pricing,
  quantityOf,
  type RateCard,
  sdrRecordOf,
  sum,
  times,
  type Usage,
  type UsageLine,
  type UsageWindow,
} from '@ims/billing';
import {
  ImsError,
  type ListSdrRecordsQuery,
  type ListUsageQuery,
  MAX_USAGE_WINDOW_MS,
  type Meter,
  METERS,
  type SdrRecordList,
  type UsageLineDocument,
  type UsageList,
  type UsageSummary,
  type UsageWindowQuery,
} from '@ims/contract';
import type { Clock, UsagePlace } from '@ims/db';
import type { Call } from '../access/permits';
import { GatewayConfig } from '../config';
import { Answer, LazyStream } from '../http/answer';
import { CLOCK, RATE_CARD } from '../http/injection-tokens';
import { decodeMarker, encodeMarker, type UsageMarker } from './usage-marker';
import { UsageReads } from './usage-reads';

const DEFAULT_LIMIT = 100;
// As many as the pull contract has in one answer (backends F2.1).
const DEFAULT_SDR_LIMIT = 1000;
const NOT_FOUND = 404;
// Events of an hour may still be on their way when it ends; the pull contract is served at :15 (backends F2.2).
const SETTLING_MS = 15 * 60_000;

/** What a project used, what it costs, and why (seed BIL-01 to BIL-12). */
@Injectable()
export class UsageService {
  constructor(
    private readonly reads: UsageReads,
    private readonly config: GatewayConfig,
    @Inject(RATE_CARD) private readonly card: RateCard | undefined,
    @Inject(CLOCK) private readonly clock: Clock,
  ) {}

  async list(caller: Call, query: ListUsageQuery): Promise<UsageList> {
    const window = this.#window(query);
    const { limit = DEFAULT_LIMIT } = query;
    const page = await this.#page(caller, { ...query, window }, limit);
    return {
      usage: page.lines.map((line) => toDocument(priced(line, this.#pricing))),
      ...shown(window),
      ...(page.next === undefined ? {} : { next_marker: encodeMarker(page.next) }),
    };
  }

  /** Sums of the lines, exactly. */
  async summary(caller: Call, query: UsageWindowQuery): Promise<UsageSummary> {
    const window = this.#window(query);
    const sums = new Map<
      string,
      { meter: Meter; productCode: string | null; quantities: string[]; amounts: (string | null)[] }
    >();
    for await (const usage of this.reads.each(questionOf(caller, query, window))) {
      const { meter } = usage;
      const productCode = meter === 'market.image' ? usage.productCode : null;
      const key = JSON.stringify([meter, productCode]);
      const entry = sums.get(key) ?? { meter, productCode, quantities: [], amounts: [] };
      entry.quantities.push(quantityOf(usage, window));
      entry.amounts.push(this.#amountOf(usage, window));
      // Folded as they come, so that memory does not grow with the images of a project.
      sums.set(key, { ...entry, quantities: [sum(entry.quantities)], amounts: [sumOrNull(entry.amounts)] });
    }
    const meters = [...sums.values()]
      .toSorted(
        (a, b) =>
          METERS.indexOf(a.meter) - METERS.indexOf(b.meter) || (a.productCode ?? '').localeCompare(b.productCode ?? ''),
      )
      .map(({ meter, productCode, quantities, amounts }) => ({
        meter,
        product_code: productCode,
        quantity: sum(quantities),
        unit: METER_SPECS[meter].unit,
        amount: sumOrNull(amounts),
      }));
    return {
      ...shown(window),
      currency: this.card?.currency ?? null,
      meters,
      total: this.card === undefined ? null : sum(meters.flatMap(({ amount }) => (amount === null ? [] : [amount]))),
      is_complete: this.card !== undefined && meters.every(({ amount }) => amount !== null),
    };
  }

  /** Hours that are over, in the shape that a metering service pulls (backends F2.1). */
  async sdrRecords(caller: Call, meter: string, query: ListSdrRecordsQuery): Promise<SdrRecordList> {
    const known = METERS.find((each) => each === meter);
    if (known === undefined) throw new ImsError('IMG.0021', 'no such meter', NOT_FOUND);
    const asked = this.#window(query);
    const settled = hourOf(this.clock.now().getTime() - SETTLING_MS);
    const window = { from: asked.from, to: new Date(Math.min(asked.to.getTime(), settled)) };
    const { limit = DEFAULT_SDR_LIMIT, marker } = query;
    const page = await this.#page(caller, { meter: known, marker, window }, limit);
    return {
      source_data: page.lines.flatMap((line) => sdrRecordOf(line, this.config.region) ?? []),
      marker: page.next === undefined ? '' : encodeMarker(page.next),
    };
  }

  /** The lines as CSV by FOCUS 1.2, sent while they are read. */
  focus(caller: Call, query: UsageWindowQuery): Answer {
    const window = this.#window(query);
    const question = questionOf(caller, query, window);
    const { reads } = this;
    const pricing = this.#pricing;
    async function* rows(): AsyncGenerator<string> {
      yield focusHeader();
      for await (const usage of reads.each(question)) {
        let block = '';
        for (const line of eachLine(usage, window)) block += focusRow(priced(line, pricing), caller);
        yield block;
      }
    }
    return new Answer(200, new LazyStream(() => Readable.from(rows())), {
      'Content-Type': 'text/csv; charset=utf-8',
      'Content-Disposition': 'attachment; filename="usage-focus.csv"',
    });
  }

  get #pricing(): Pricing {
    return { region: this.config.region, card: this.card };
  }

  /** This month until now when left out; never beyond now, since nobody knows what will be used. */
  #window({ from, to }: { from?: Date | undefined; to?: Date | undefined }): UsageWindow {
    const now = this.clock.now();
    const end = to === undefined || to > now ? now : to;
    // The end of a month belongs to that month.
    const last = new Date(end.getTime() - 1);
    const begin = from ?? new Date(Date.UTC(last.getUTCFullYear(), last.getUTCMonth()));
    if (begin > end) throw new ImsError('IMG.0001', 'the window has not begun yet');
    // The query alone cannot tell how long one without an end is.
    if (end.getTime() - begin.getTime() > MAX_USAGE_WINDOW_MS)
      throw new ImsError('IMG.0001', 'the window must not be longer than 366 days');
    return { from: begin, to: end };
  }

  async #page(
    caller: Call,
    request: {
      window: UsageWindow;
      image_id?: string | undefined;
      meter?: Meter | undefined;
      marker?: string | undefined;
    },
    limit: number,
  ): Promise<{ lines: UsageLine[]; next: UsageMarker | undefined }> {
    const { window, marker: text } = request;
    const marker = text === undefined ? undefined : decodeMarker(text);
    const lines: UsageLine[] = [];
    for await (const usage of this.reads.each(questionOf(caller, request, window, marker))) {
      for (const line of eachLine(usage, onward(usage, window, marker))) {
        if (lines.length === limit) {
          return { lines, next: { openedAt: usage.openedAt, id: usage.id, begin: line.begin } };
        }
        lines.push(line);
      }
    }
    return { lines, next: undefined };
  }

  #amountOf(usage: Usage, window: UsageWindow): string | null {
    const { card } = this;
    if (card === undefined) return null;
    const of = { meter: usage.meter, productCode: usage.productCode, region: this.config.region };
    const parts = card.cut(of, window).map((part) => {
      const quantity = quantityOf(usage, part);
      const price = card.priceOf(of, part.from);
      return price === null ? (quantity === '0' ? '0' : null) : times(quantity, price);
    });
    return sumOrNull(parts);
  }
}

const hourOf = (ms: number): number => Math.floor(ms / HOUR_MS) * HOUR_MS;

const sumOrNull = (amounts: readonly (string | null)[]): string | null => {
  const known = amounts.filter((amount) => amount !== null);
  return known.length < amounts.length ? null : sum(known);
};

const shown = ({ from, to }: UsageWindow): { from: string; to: string } => ({
  from: from.toISOString(),
  to: to.toISOString(),
});

const questionOf = (
  { projectId }: Call,
  { image_id: imageId, meter }: { image_id?: string | undefined; meter?: Meter | undefined },
  window: UsageWindow,
  since?: UsagePlace,
) => ({ projectId, ...window, imageId, meter, since });

/** The rest of the window for the usage that a page ended in; the whole of it for every other. */
function onward(usage: Usage, window: UsageWindow, marker: UsageMarker | undefined): UsageWindow {
  // What is used up at once is one line, which a page ends before or after.
  if (marker?.id !== usage.id || METER_SPECS[usage.meter].kind === 'once') return window;
  return { ...window, from: marker.begin > window.from ? marker.begin : window.from };
}

const toDocument = (line: PricedLine): UsageLineDocument => ({
  id: line.id,
  meter: line.meter,
  image_id: line.imageId,
  backup_id: line.backupId,
  product_code: line.productCode,
  region: line.region,
  begin_time: line.begin.toISOString(),
  end_time: line.end.toISOString(),
  size_bytes: line.bytes,
  quantity: line.quantity,
  unit: line.unit,
  unit_price: line.unitPrice,
  amount: line.amount,
  currency: line.currency,
  is_final: line.isFinal,
  explanation: line.explanation,
  event_ids: [...line.eventIds],
});
