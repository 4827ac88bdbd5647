import { type Decimal, decimal, quotient, shown, times } from './decimal';
import { METER_SPECS } from './meters';
import type { RateCard } from './rate-card';
import { GIB, HOUR_MS, type UsageLine } from './usage-lines';

/** What prices are taken from; without a card there are none, and only quantities are told (BIL-12). */
export interface Pricing {
  region: string;
  card: RateCard | undefined;
}

export interface PricedLine extends UsageLine {
  region: string;
  /** `null` without a card, or where it has no price for this. */
  unitPrice: Decimal | null;
  /** Exactly `quantity` times `unitPrice`. */
  amount: Decimal | null;
  currency: string | null;
  /** In words and numbers why it is what it is; for people, so numbers have six places at most. */
  explanation: string;
}

export const gigabytes = (bytes: number): string => `${shown(quotient(BigInt(bytes), BigInt(GIB)))} GB`;

const UNIT_WORDS = { 'GB-Hours': 'GB·h', Hours: 'h', GB: 'GB' } as const;
export const unitWord = (unit: UsageLine['unit']): string => UNIT_WORDS[unit];

/**
 * The line with its price and the reason for it.
 *
 * @example priced(line, { region: 'region-1', card }).explanation
 *   // "backup of 3.2 GB kept 0.5 h: 1.6 GB·h × 0.0002 EUR/GB·h = 0.00032 EUR"
 */
export function priced(line: UsageLine, { region, card }: Pricing): PricedLine {
  const unitPrice = card?.priceOf({ ...line, region }, line.begin) ?? null;
  const amount = unitPrice === null ? null : times(line.quantity, unitPrice);
  const currency = card?.currency ?? null;
  const quantity = `${shown(line.quantity)} ${unitWord(line.unit)}`;
  const costs = costOf(line, { unitPrice, amount, currency, region });
  return { ...line, region, unitPrice, amount, currency, explanation: `${happened(line, quantity)}${costs}` };
}

/** What happened, ending with its quantity. */
function happened(line: UsageLine, quantity: string): string {
  const { what, kind } = METER_SPECS[line.meter];
  const hours = `${shown(decimal(quotient(BigInt(line.end.getTime() - line.begin.getTime()), BigInt(HOUR_MS))))} h`;
  switch (kind) {
    case 'kept':
      return `${what} of ${gigabytes(line.bytes)} kept ${hours}: ${quantity}`;
    case 'time':
      return `${what} of product ${line.productCode ?? 'unknown'} there for ${hours}`;
    case 'once':
      return `${what} of ${line.bytes} bytes at ${(line.at ?? line.begin).toISOString()}: ${quantity}`;
  }
  return kind satisfies never;
}

type Cost = Pick<PricedLine, 'unitPrice' | 'amount' | 'currency' | 'region'>;

/** What follows from it, ending the sentence. */
export function costOf(of: Pick<UsageLine, 'meter' | 'unit' | 'productCode'>, cost: Cost): string {
  const { freeBecause } = METER_SPECS[of.meter];
  const { unitPrice, amount, currency, region } = cost;
  if (freeBecause !== null) return `; ${freeBecause}`;
  if (currency === null) return '; this installation has no rate card, so it has no price';
  if (unitPrice === null || amount === null) {
    const missing = of.meter === 'market.image' ? `product ${of.productCode ?? 'unknown'}` : `${of.meter} in ${region}`;
    return `; the rate card has no price for ${missing}`;
  }
  return ` × ${unitPrice} ${currency}/${unitWord(of.unit)} = ${amount} ${currency}`;
}
