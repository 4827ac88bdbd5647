import Big from 'big.js';

/** A decimal number as text, without exponent: money and quantities never pass through a float. */
export type Decimal = string;

// 10^-12 GB·h is one byte kept for about four seconds: nothing that could be charged is lost by it.
const PLACES = 12;
const SCALE = 10n ** BigInt(PLACES);

/** The same number without trailing zeros. @throws Error when the text is no number */
export const decimal = (value: Decimal | number | bigint): Decimal => new Big(value.toString()).toFixed();

/** Exact. */
export const times = (a: Decimal, b: Decimal): Decimal => new Big(a).times(b).toFixed();

/** Exact. */
export const sum = (values: Iterable<Decimal>): Decimal => {
  let total = new Big(0);
  for (const value of values) total = total.plus(value);
  return total.toFixed();
};

/** `a - b`, exact. */
export const minus = (a: Decimal, b: Decimal): Decimal => new Big(a).minus(b).toFixed();

/** A quotient of whole numbers that are not negative, rounded half up to 12 places: it never falls when the numerator grows. */
export function quotient(numerator: bigint, denominator: bigint): Decimal {
  const scaled = (2n * numerator * SCALE + denominator) / (2n * denominator);
  return decimal(`${scaled / SCALE}.${(scaled % SCALE).toString().padStart(PLACES, '0')}`);
}

/** For people: at most six places. */
export const shown = (value: Decimal): string => decimal(new Big(value).round(6).toFixed());

/** A whole number from `least` up, rounded half up. */
export const whole = (value: Decimal): number => Number(new Big(value).round(0, Big.roundHalfUp).toFixed());
