import type { Meter } from '@ims/contract';
import { times, whole } from './decimal';
import { METER_SPECS } from './meters';
import type { PricedLine } from './pricing';
import type { UsageLine } from './usage-lines';

/** One record of the pull contract (backends F2.1). */
export interface SdrRecord {
  /** The consumer's project, by the contract's name for it. */
  user_id: string;
  region_id: string;
  cloud_service_type: string;
  resource_type: string;
  resource_spec_code: string;
  resource_id: string;
  begin_time: string;
  end_time: string;
  accumulate_factor_name: string;
  accumulate_factor_value: number;
}

// What the factor's unit is of the line's: GB are counted in MB, hours in seconds, because the contract takes whole numbers.
const FACTORS = { 'MB·h': '1024', MB: '1024', s: '3600' } as const;
// The contract's bounds of a value.
const MAX_FACTOR = 100_000_000;

/** `YYYYMMDDHHMMSS`, UTC. */
const compact = (at: Date): string => at.toISOString().slice(0, 19).replaceAll(/[-:T]/g, '');

const resourceOf = ({ imageId, backupId }: UsageLine): string => imageId ?? backupId ?? '';

/** The line as the pull contract has it; `undefined` for one so small that it has no whole unit, since the contract begins at one. */
export function sdrRecordOf(line: UsageLine, region: string): SdrRecord | undefined {
  const { cloudServiceType, resourceType, sku, factor, factorUnit } = METER_SPECS[line.meter];
  const value = Math.min(whole(times(line.quantity, FACTORS[factorUnit])), MAX_FACTOR);
  if (value < 1) return undefined;
  return {
    user_id: line.projectId,
    region_id: region,
    cloud_service_type: cloudServiceType,
    resource_type: resourceType,
    // The price goes by the product, so the product is the specification.
    resource_spec_code: line.productCode !== null && line.meter === 'market.image' ? line.productCode : sku,
    resource_id: resourceOf(line),
    begin_time: compact(line.begin),
    end_time: compact(line.end),
    accumulate_factor_name: factor,
    accumulate_factor_value: value,
  };
}

const SERVICE = 'Image Management Service';

/** The account that pays for its projects. */
export interface Payer {
  accountId: string;
  accountName: string;
}

/** Columns of FOCUS 1.2: the mandatory ones, and of the others those that we know (backends F3.2). */
const FOCUS = {
  BilledCost: ({ amount }: PricedLine) => amount ?? '0',
  BillingAccountId: (_: PricedLine, { accountId }: Payer) => accountId,
  BillingAccountName: (_: PricedLine, { accountName }: Payer) => accountName,
  // Without a rate card there is no currency; XXX is the code of ISO 4217 for that.
  BillingCurrency: ({ currency }: PricedLine) => currency ?? 'XXX',
  BillingPeriodStart: ({ begin }: PricedLine) => monthOf(begin, 0).toISOString(),
  BillingPeriodEnd: ({ begin }: PricedLine) => monthOf(begin, 1).toISOString(),
  ChargeCategory: () => 'Usage',
  ChargeClass: () => '',
  ChargeDescription: ({ explanation }: PricedLine) => explanation,
  ChargePeriodStart: ({ begin }: PricedLine) => begin.toISOString(),
  ChargePeriodEnd: ({ end }: PricedLine) => end.toISOString(),
  ContractedCost: ({ amount }: PricedLine) => amount ?? '0',
  EffectiveCost: ({ amount }: PricedLine) => amount ?? '0',
  InvoiceIssuerName: () => SERVICE,
  ListCost: ({ amount }: PricedLine) => amount ?? '0',
  ListUnitPrice: ({ unitPrice }: PricedLine) => unitPrice ?? '',
  PricingQuantity: ({ quantity }: PricedLine) => quantity,
  PricingUnit: ({ unit }: PricedLine) => unit,
  // Version 1.3 has other names for the provider, and the ones of 1.2 go with it; both are written.
  ProviderName: () => SERVICE,
  ServiceProviderName: () => SERVICE,
  HostProviderName: () => SERVICE,
  PublisherName: () => SERVICE,
  ServiceCategory: ({ meter }: PricedLine) => METER_SPECS[meter].serviceCategory,
  ServiceName: () => SERVICE,
  ConsumedQuantity: ({ quantity }: PricedLine) => quantity,
  ConsumedUnit: ({ unit }: PricedLine) => unit,
  ResourceId: (line: PricedLine) => resourceOf(line),
  ResourceType: ({ meter }: PricedLine) => METER_SPECS[meter].resourceType,
  RegionId: ({ region }: PricedLine) => region,
  RegionName: ({ region }: PricedLine) => region,
  SkuId: ({ meter, productCode }: PricedLine) => (meter === 'market.image' && productCode) || METER_SPECS[meter].sku,
  SkuMeter: ({ meter }: PricedLine) => meter satisfies Meter,
  SubAccountId: ({ projectId }: PricedLine) => projectId,
  SubAccountName: ({ projectId }: PricedLine) => projectId,
} as const;

const monthOf = (at: Date, ahead: number): Date => new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + ahead));

/** A spreadsheet takes a cell that begins so for a formula. */
const FORMULA = /^[=+\-@\t\r]/;

const cell = (text: string): string => {
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

/** First line of the export. */
export const focusHeader = (): string => `${Object.keys(FOCUS).join(',')}\r\n`;

/** One line of the export. */
export const focusRow = (line: PricedLine, payer: Payer): string =>
  `${Object.values(FOCUS)
    .map((column) => cell(column(line, payer)))
    .join(',')}\r\n`;
