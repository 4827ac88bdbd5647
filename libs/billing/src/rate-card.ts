import { readFile } from 'node:fs/promises';
import { METERS, type Meter } from '@ims/contract';
import { z } from 'zod';
import { decimal, type Decimal } from './decimal';
import { METER_SPECS } from './meters';
import type { UsageWindow } from './usage-lines';

/** The rate card cannot be used; the message names the file, the place in it, and what is wrong there. */
export class RateCardError extends Error {
  override readonly name = 'RateCardError';
}

const DECIMAL = 'must be a decimal number as text, such as "0.0002"';
// Far below what any currency has, and above what anybody asks for an hour.
const price = z
  .string(DECIMAL)
  .regex(/^\d{1,12}(\.\d{1,12})?$/, DECIMAL)
  .transform(decimal);

const isoOf = (text: string): string | undefined => {
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : new Date(at).toISOString().replace('.000Z', 'Z');
};

const wholeHour = z.string().refine(
  // Written again it is the same text, unless its day or hour is none: those would otherwise be of the next month or day.
  (text) => /^\d{4}-\d\d-\d\dT\d\d:00:00Z$/.test(text) && isoOf(text) === text,
  'must be a whole hour, such as 2027-01-01T00:00:00Z',
);

/** One price for ever, or prices by the hour from which each holds; before the first one there is none. */
const prices = z.union([
  price.transform((only) => [{ from: 0, price: only }]),
  z
    .array(
      z.strictObject({ from: wholeHour.transform((text) => Date.parse(text)), price }),
      'or a list of {"from", "price"}',
    )
    .min(1)
    .refine(
      (list) => list.every(({ from }, index) => index === 0 || from > (list[index - 1]?.from ?? 0)),
      'must be in the order of time',
    ),
]);
type Prices = z.infer<typeof prices>;

/** Meters whose price the card has for each region; those of the marketplace go by product code. */
const PRICED = METERS.filter((meter) => METER_SPECS[meter].freeBecause === null && meter !== 'market.image');

const schema = z.strictObject({
  /** What this file is; told apart from later forms. */
  version: z.literal(1),
  currency: z.string().regex(/^[A-Z]{3}$/, 'must be a code of ISO 4217, such as EUR'),
  /** By region: by meter, the price of one of its units. */
  regions: z.record(z.string().min(1), z.partialRecord(z.enum(PRICED), prices)),
  /** By product code of the marketplace: the price of an hour of an image (BIL-05). */
  product_codes: z.record(z.string().min(1), prices).default({}),
});

/** What a unit of a meter costs, by region and time (BIL-12). */
export class RateCard {
  private constructor(
    readonly currency: string,
    private readonly regions: Readonly<Record<string, Readonly<Partial<Record<Meter, Prices>>>>>,
    private readonly productCodes: Readonly<Record<string, Prices>>,
  ) {}

  /**
   * @param origin name of the file, for messages
   * @throws RateCardError
   */
  static parse(text: string, origin: string): RateCard {
    let document: unknown;
    try {
      document = JSON.parse(text);
    } catch (error) {
      throw new RateCardError(`rate card ${origin}: it is no JSON: ${String(error)}`);
    }
    const parsed = schema.safeParse(document);
    if (!parsed.success) {
      const complaints = parsed.error.issues.flatMap((issue) => complaintsOf(issue));
      throw new RateCardError(`rate card ${origin}: ${complaints.join('; ')}`);
    }
    const { currency, regions, product_codes: productCodes } = parsed.data;
    return new RateCard(currency, regions, productCodes);
  }

  /** @throws RateCardError also when the file cannot be read */
  static async read(path: string): Promise<RateCard> {
    const text = await readFile(path, 'utf8').catch((error: unknown) => {
      throw new RateCardError(`rate card ${path}: it cannot be read: ${String(error)}`);
    });
    return RateCard.parse(text, path);
  }

  /** The price of one unit at a moment; `null` where the card has none. What is free costs 0 whatever the card says. */
  priceOf(of: { meter: Meter; productCode: string | null; region: string }, at: Date): Decimal | null {
    if (METER_SPECS[of.meter].freeBecause !== null) return '0';
    return this.#pricesOf(of).findLast(({ from }) => from <= at.getTime())?.price ?? null;
  }

  /** The window, cut where the price changes; prices change on whole hours alone, so no line spans a change. */
  cut(of: { meter: Meter; productCode: string | null; region: string }, { from, to }: UsageWindow): UsageWindow[] {
    const changes = this.#pricesOf(of)
      .map((change) => change.from)
      .filter((at) => at > from.getTime() && at < to.getTime());
    const edges = [from.getTime(), ...changes, to.getTime()].map((at) => new Date(at));
    return edges.slice(1).map((end, index) => ({ from: edges[index] ?? from, to: end }));
  }

  #pricesOf({ meter, productCode, region }: { meter: Meter; productCode: string | null; region: string }): Prices {
    if (METER_SPECS[meter].freeBecause !== null) return [];
    if (meter === 'market.image') return own(this.productCodes, productCode ?? '') ?? [];
    return own(this.regions, region)?.[meter] ?? [];
  }
}

/** What is wrong and where. Of several forms that a value could have, the one counts that it resembles: the one refused for something within it. */
function complaintsOf(issue: z.core.$ZodIssue, within: readonly PropertyKey[] = []): string[] {
  const path = [...within, ...issue.path];
  if (issue.code !== 'invalid_union') return [`${path.join('.')}: ${issue.message}`];
  const resembling = issue.errors.filter((form) => form.some((each) => each.path.length > 0));
  return (resembling.length > 0 ? resembling : issue.errors).flat().flatMap((each) => complaintsOf(each, path));
}

/** Names of regions and product codes are the operator's and the provider's: `constructor` is one like any other. */
const own = <T>(map: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(map, name) ? map[name] : undefined;
