import { z } from 'zod';
import { isImageId } from '../ids';
import { METERS } from '../usage';
import { refusal } from './refusal';

const one = z.union([z.string(), z.array(z.string()).transform((all) => all.at(-1) ?? '')]);

/** A year, so that a window can hold any billing year; longer ones are asked in parts. */
export const MAX_USAGE_WINDOW_MS = 366 * 86_400_000;

const WHOLE_HOUR = /^(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):00(?::00)?(?:\.0{1,6})?Z)?$/;

/** A whole hour (UTC), or a day for its first one: lines of usage never span an hour, so windows do not cut one. */
const hourIn =
  (name: string) =>
  (text: string, context: z.RefinementCtx): Date => {
    const match = WHOLE_HOUR.exec(text);
    const [, year, month, day, hour = '00'] = match ?? [];
    const at = new Date(`${year}-${month}-${day}T${hour}:00:00Z`);
    // A day that its month does not have would otherwise be one of the next; before the epoch there are no computers to have used anything.
    const isThere = at.getTime() >= 0 && at.getUTCDate() === Number(day) && hour !== '24';
    if (match === null || !isThere) {
      const message = refusal('IMG.0001', `${name} must be a day or a whole hour, such as 2026-11-24T09:00:00Z`);
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    }
    return at;
  };
const wholeHour = (name: string) => one.transform(hourIn(name));

/** `YYYYMMDDHHMMSS` (backends F2.1), of a whole hour. */
const compactHour = (name: string) =>
  one
    .refine((text) => /^\d{10}0000$/.test(text), { error: refusal('IMG.0001', `${name} must be YYYYMMDDHH0000`) })
    .transform((text) => text.replace(/^(\d{4})(\d\d)(\d\d)(\d\d)0000$/, '$1-$2-$3T$4:00:00Z'))
    .transform(hourIn(name));

const isInOrder = ({ from, to }: { from?: Date | undefined; to?: Date | undefined }): boolean =>
  from === undefined || to === undefined || from < to;
const isShort = ({ from, to }: { from?: Date | undefined; to?: Date | undefined }): boolean =>
  from === undefined || to === undefined || to.getTime() - from.getTime() <= MAX_USAGE_WINDOW_MS;
const ORDER = { error: refusal('IMG.0001', 'the end of the window must be after its beginning') };
const LENGTH = { error: refusal('IMG.0001', 'the window must not be longer than 366 days') };

const limit = one.pipe(
  z
    .string()
    .regex(/^[1-9]\d{0,3}$/, { error: refusal('IMG.0001', 'limit must be a whole number from 1 to 1000') })
    .transform(Number)
    .pipe(z.number().max(1000, { error: refusal('IMG.0001', 'limit must be a whole number from 1 to 1000') })),
);

const meter = one.pipe(z.enum(METERS, { error: refusal('IMG.0001', `meter must be one of ${METERS.join(', ')}`) }));
// As long as markers of ours can be, and no longer.
const marker = one.pipe(z.string().max(512, { error: refusal('IMG.0001', 'marker is none of this list') }));

const imageId = one.pipe(
  z.string().refine(isImageId, { error: refusal('IMG.0066', 'image_id must be the id of an image') }),
);

const window = { from: wholeHour('from'), to: wholeHour('to'), image_id: imageId, meter };

/** Query of GET /v1/{project_id}/usage. Ours; the vendor bills by a service of its own. */
export const listUsageQuery = z
  .object({ ...window, limit, marker })
  .partial()
  .refine(isInOrder, ORDER)
  .refine(isShort, LENGTH);
export type ListUsageQuery = z.infer<typeof listUsageQuery>;

/** Query of the sums and of the export, which have no pages. */
export const usageWindowQuery = z.object(window).partial().refine(isInOrder, ORDER).refine(isShort, LENGTH);
export type UsageWindowQuery = z.infer<typeof usageWindowQuery>;

/** Query of GET /v1/sdr-meters/{sdr_meter}/records (backends F2.1). */
export const listSdrRecordsQuery = z
  .object({ start_time: compactHour('start_time'), end_time: compactHour('end_time'), limit, marker })
  .partial()
  .transform(({ start_time: from, end_time: to, ...more }) => ({ from, to, ...more }))
  .refine(isInOrder, ORDER)
  .refine(isShort, LENGTH);
export type ListSdrRecordsQuery = z.infer<typeof listSdrRecordsQuery>;

/** Decimal number as text, exact. */
const decimal = z.string();

/** One line of usage. Numbers that are money or quantities are text, so that no reader rounds them. */
export const usageLine = z.object({
  id: z.string(),
  meter: z.enum(METERS),
  image_id: z.string().nullable(),
  backup_id: z.string().nullable(),
  product_code: z.string().nullable(),
  region: z.string(),
  begin_time: z.string(),
  end_time: z.string(),
  /** Bytes that were kept or moved. */
  size_bytes: z.int(),
  quantity: decimal,
  unit: z.enum(['GB-Hours', 'Hours', 'GB']),
  /** `null` without a rate card, or where it has no price for this. */
  unit_price: decimal.nullable(),
  amount: decimal.nullable(),
  currency: z.string().nullable(),
  /** `false`: the hour goes on, and so may the line. */
  is_final: z.boolean(),
  explanation: z.string(),
  /** The events that the line rests on. */
  event_ids: z.array(z.string()),
});
export type UsageLineDocument = z.infer<typeof usageLine>;

export const usageList = z.object({
  usage: z.array(usageLine),
  from: z.string(),
  to: z.string(),
  /** Where the next page begins; absent on the last one. */
  next_marker: z.string().optional(),
});
export type UsageList = z.infer<typeof usageList>;

export const usageSummary = z.object({
  from: z.string(),
  to: z.string(),
  currency: z.string().nullable(),
  meters: z.array(
    z.object({
      meter: z.enum(METERS),
      product_code: z.string().nullable(),
      quantity: decimal,
      unit: z.enum(['GB-Hours', 'Hours', 'GB']),
      amount: decimal.nullable(),
    }),
  ),
  /** Sum of the amounts that are known; `null` without a rate card. */
  total: decimal.nullable(),
  /** Everything that was used has a price. */
  is_complete: z.boolean(),
});
export type UsageSummary = z.infer<typeof usageSummary>;

export const sdrRecordList = z.object({
  source_data: z.array(
    z.object({
      user_id: z.string(),
      region_id: z.string(),
      cloud_service_type: z.string(),
      resource_type: z.string(),
      resource_spec_code: z.string(),
      resource_id: z.string(),
      begin_time: z.string(),
      end_time: z.string(),
      accumulate_factor_name: z.string(),
      accumulate_factor_value: z.int(),
    }),
  ),
  /** Empty on the last page. */
  marker: z.string(),
});
export type SdrRecordList = z.infer<typeof sdrRecordList>;

/** What a job would cost, before it is done. */
export const estimateDocument = z.object({
  lines: z.array(
    z.object({
      meter: z.string(),
      /** `ims`, or the service that charges it. */
      charged_by: z.string(),
      per: z.enum(['once', 'hour']),
      /** `null`: not known before the work. */
      quantity: decimal.nullable(),
      unit: z.string(),
      unit_price: decimal.nullable(),
      amount: decimal.nullable(),
      explanation: z.string(),
    }),
  ),
  total: z.object({ once: decimal, per_hour: decimal }).nullable(),
  currency: z.string().nullable(),
  is_complete: z.boolean(),
});
export type EstimateDocument = z.infer<typeof estimateDocument>;
