import type { Meter } from '@ims/contract';
import { type Decimal, quotient, shown, sum, times } from './decimal';
import { METER_SPECS } from './meters';
import { costOf, gigabytes, type Pricing } from './pricing';
import { GIB } from './usage-lines';

/** What is known of a job before it is done. */
export interface EstimatedJob {
  /** `image-create`, `image-copy`, `image-export`, `image-replicate`, `server-backup`, …: one that is not known here costs nothing. */
  saga: string;
  /** Bytes that it will keep, send or write, at most; `null` where nobody can know yet. */
  bytes: number | null;
  /** The image is that of a whole server, kept as a backup. */
  isWholeServer?: boolean;
  /** Its backup is charged already, so the image adds nothing (one payer, once). */
  isBackupCharged?: boolean;
  /** `__productcode` that each image of the job inherits, where it inherits one. */
  productCodes?: readonly (string | null)[];
  /** Disks that servers or disks of the job will have, GB each. */
  disksGb?: readonly number[];
}

export interface EstimateLine {
  /** A meter of ours, or what another service charges (`chargedBy`). */
  meter: Meter | 'volume.storage';
  /** Who sends the bill; amounts of others are not ours to tell. */
  chargedBy: 'ims' | 'evs';
  /** Once, or for each hour that the result is kept. */
  per: 'once' | 'hour';
  quantity: Decimal | null;
  unit: 'GB-Hours' | 'Hours' | 'GB';
  unitPrice: Decimal | null;
  amount: Decimal | null;
  explanation: string;
}

export interface Estimate {
  lines: EstimateLine[];
  /** Sums of the amounts that are known; `null` without a rate card. */
  total: { once: Decimal; perHour: Decimal } | null;
  currency: string | null;
  /** Every amount of ours is known. */
  isComplete: boolean;
}

/** What the result keeps or uses; what its images cost for what they came from comes besides. */
const metersOf = ({ saga, isWholeServer, isBackupCharged }: EstimatedJob): Meter[] => {
  switch (saga) {
    case 'image-create':
    case 'image-receive':
      if (isWholeServer !== true) return ['image.storage'];
      return isBackupCharged === true ? [] : ['backup.storage'];
    case 'image-copy':
      return ['image.storage'];
    case 'server-backup':
      return ['backup.storage'];
    case 'image-export':
      return ['export'];
    case 'image-replicate':
      return isWholeServer === true
        ? ['backup-replication.traffic', 'backup.storage']
        : ['replication.traffic', 'image.storage'];
    default:
      return [];
  }
};

/**
 * What a job would cost, by the rate card as it is at `at`. A function of its arguments alone: it reads and changes nothing.
 *
 * @example estimate({ saga: 'server-backup', bytes: 2 ** 30 }, { region, card, at }).total // { once: '0', perHour: '0.0002' }
 */
export function estimate(job: EstimatedJob, { at, ...pricing }: Pricing & { at: Date }): Estimate {
  const products = (job.productCodes ?? []).filter((code) => code !== null);
  const ours = [
    ...metersOf(job).map((meter) => lineOf({ meter, productCode: null }, job, pricing, at)),
    ...products.map((productCode) => lineOf({ meter: 'market.image', productCode }, job, pricing, at)),
  ];
  const total = (per: EstimateLine['per']) =>
    sum(ours.flatMap((line) => (line.per === per && line.amount !== null ? [line.amount] : [])));
  return {
    lines: [...ours, ...disksOf(job)],
    total: pricing.card === undefined ? null : { once: total('once'), perHour: total('hour') },
    currency: pricing.card?.currency ?? null,
    isComplete: ours.every(({ amount }) => amount !== null),
  };
}

function lineOf(
  { meter, productCode }: { meter: Meter; productCode: string | null },
  job: EstimatedJob,
  { region, card }: Pricing,
  at: Date,
): EstimateLine {
  const { kind, unit, what } = METER_SPECS[meter];
  const quantity = kind === 'time' ? '1' : job.bytes === null ? null : quotient(BigInt(job.bytes), BigInt(GIB));
  const unitPrice = card?.priceOf({ meter, productCode, region }, at) ?? null;
  const amount = unitPrice === null || quantity === null ? null : times(quantity, unitPrice);
  const currency = card?.currency ?? null;
  const size = job.bytes === null ? 'a size that is not known before the work' : gigabytes(job.bytes);
  const head =
    kind === 'time'
      ? `${what} of product ${productCode ?? 'unknown'}, each hour that the image is there`
      : kind === 'once'
        ? `${what} of ${size}, once, at most: what the other side has already does not travel`
        : `${what} of ${size} at most, each hour that it is kept`;
  const unknown = quantity === null && METER_SPECS[meter].freeBecause === null;
  return {
    meter,
    chargedBy: 'ims',
    per: kind === 'once' ? 'once' : 'hour',
    quantity,
    unit,
    unitPrice,
    // What is free is free at any size.
    amount: unitPrice === '0' ? '0' : amount,
    explanation:
      unknown && unitPrice !== null
        ? `${head}; each ${unit === 'GB' ? 'GB' : 'GB·h'} costs ${unitPrice} ${currency ?? ''}`.trimEnd()
        : `${head}${costOf({ meter, unit, productCode }, { unitPrice, amount, currency, region })}`,
  };
}

/** BIL-07: servers and disks cost what their disks cost, in the disk service; the image that they are made from is free. */
function disksOf({ disksGb = [] }: EstimatedJob): EstimateLine[] {
  if (disksGb.length === 0) return [];
  const total = sum(disksGb.map(String));
  const parts = disksGb.length === 1 ? '' : ` (${disksGb.map((gb) => shown(String(gb))).join(' + ')})`;
  return [
    {
      meter: 'volume.storage',
      chargedBy: 'evs',
      per: 'hour',
      quantity: total,
      unit: 'GB-Hours',
      unitPrice: null,
      amount: null,
      explanation: `disks of ${total} GB${parts}, charged by the disk service; the image itself is free (BIL-07)`,
    },
  ];
}
