import { z } from 'zod';
import { DISK_FORMATS } from '../image-create';
import { LISTING_PARTIES, LISTING_STATUSES } from '../catalogue';
import { refusal } from './refusal';

const malformed = (field: string, what: string) => ({ error: refusal('IMG.0001', `${field} ${what}`) });

/** A line that people read. */
const line = (field: string, max: number) =>
  z
    .string(malformed(field, 'must be a text'))
    .regex(/^[^\p{Cc}<>]+$/u, malformed(field, 'must have a character, and no control character, < or >'))
    .max(max, malformed(field, `must have at most ${max} characters`));

const flag = (field: string) => z.boolean(malformed(field, 'must be true or false'));
const whole = (field: string, least: number, most: number) =>
  z
    .int(malformed(field, `must be a whole number from ${least} to ${most}`))
    .min(least, malformed(field, `must be from ${least} to ${most}`))
    .max(most, malformed(field, `must be from ${least} to ${most}`));

/** What a public image can do, by the keys of `__os_feature_list` (ims-api 2.2, IMG-17). */
export const OS_FEATURES = [
  'nic_hotplug',
  'disk_hotplug',
  'user_data',
  'ssh_key',
  'hostname_inject',
  'onekey_resetpasswd',
] as const;

/** Formats of disks; a public image is no installation medium. */
const KEPT_FORMATS = DISK_FORMATS.filter((format) => format !== 'iso');

/** Either a file in a bucket of this region, or one of the web. */
const catalogueSource = z.union(
  [
    z.strictObject({ bucket: line('source.bucket', 63), object: line('source.object', 1024) }),
    z.strictObject({
      url: z.url({ protocol: /^https?$/, ...malformed('source.url', 'must be an http or https address') }).max(2048),
    }),
  ],
  malformed('source', 'must be { bucket, object } or { url }'),
);

/** One public image (IMG-04, IMG-05, IMG-17, ADV-04). */
export const catalogueEntry = z
  .strictObject({
    key: z
      .string(malformed('key', 'must be a text'))
      .regex(/^[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?$/, malformed('key', 'must be of a-z, 0-9, . and -, at most 64')),
    version: line('version', 64),
    name: line('name', 128),
    description: line('description', 1024).optional(),
    /** The name of the system as images carry it; one that no table knows needs the three that follow. */
    os_version: line('os_version', 128),
    platform: line('platform', 64).optional(),
    os_type: z.enum(['Linux', 'Windows', 'Other'], malformed('os_type', 'must be Linux, Windows or Other')).optional(),
    os_bit: z.enum(['32', '64'], malformed('os_bit', 'must be "32" or "64"')).optional(),
    architecture: z.enum(['x86', 'arm'], malformed('architecture', 'must be x86 or arm')).default('x86'),
    firmware: z.enum(['bios', 'uefi'], malformed('firmware', 'must be bios or uefi')).default('bios'),
    /** GiB (CRE-32: 1 to 1024). */
    min_disk: whole('min_disk', 1, 1024),
    /** MiB. */
    min_ram: whole('min_ram', 0, 4_194_304).default(0),
    format: z.enum(KEPT_FORMATS, malformed('format', `must be one of ${KEPT_FORMATS.join(', ')}`)).default('qcow2'),
    source: catalogueSource.optional(),
    sha256: z
      .string(malformed('sha256', 'must be a text'))
      .regex(/^[0-9a-f]{64}$/, malformed('sha256', 'must be 64 lower-case hex digits'))
      .optional(),
    vendor: line('vendor', 128),
    /** Left out where the vendor builds its kernel itself. */
    kernel_vendor: line('kernel_vendor', 128).optional(),
    licence: line('licence', 256),
    homepage: z
      .url({ protocol: /^https?$/, ...malformed('homepage', 'must be an address') })
      .max(2048)
      .optional(),
    features: z
      .partialRecord(
        z.enum(OS_FEATURES, malformed('features', `may name ${OS_FEATURES.join(', ')}`)),
        flag('features'),
        malformed('features', 'must be a map'),
      )
      .default({}),
    /** `__support_*` attributes that are true of it (ims-api 2.2). */
    supports: z
      .array(z.string().regex(/^__support_[a-z0-9_]{1,48}$/, malformed('supports', 'must be names of __support_…')))
      .max(32)
      .default([]),
  })
  .refine(({ source, sha256 }) => (source === undefined) === (sha256 === undefined), {
    error: refusal(
      'IMG.0001',
      'source and sha256 belong together: bytes are taken for what their digest says, or not at all',
    ),
  });
export type CatalogueEntry = z.infer<typeof catalogueEntry>;

// More than any vendor offers in a region; a file that is longer is not one of ours.
const MAX_ENTRIES = 1000;

/** The catalogue of public images: a file in YAML or JSON that the operator keeps, or the body of `PUT /v1/catalogue`. */
export const catalogueDocument = z
  .strictObject({
    version: z.literal(1, malformed('version', 'must be 1')),
    images: z.array(catalogueEntry, malformed('images', 'must be a list')).max(MAX_ENTRIES),
  })
  .refine(({ images }) => new Set(images.map(({ key }) => key)).size === images.length, {
    error: refusal('IMG.0001', 'every key may be there once'),
  });
export type CatalogueDocument = z.infer<typeof catalogueDocument>;

/** What loading a catalogue did to one of its entries. */
export const CATALOGUE_CHANGES = ['queued', 'changed', 'listed-again', 'retired', 'withdrawn', 'unchanged'] as const;
export const catalogueLoaded = z.object({
  entries: z.array(
    z.object({
      key: z.string(),
      version: z.string(),
      image_id: z.string(),
      change: z.enum(CATALOGUE_CHANGES),
      /** The job that brings the bytes, where one was started. */
      job_id: z.string().optional(),
    }),
  ),
});
export type CatalogueLoaded = z.infer<typeof catalogueLoaded>;

/** The catalogue as it is: each key with its newest image, and those older ones that servers may still run from. */
export const catalogueList = z.object({
  entries: z.array(
    z.object({
      key: z.string(),
      version: z.string(),
      name: z.string(),
      image_id: z.string(),
      /** `queued` without a job means that the catalogue names no bytes. */
      status: z.string(),
      /** Shown in lists; what is not can still be used by its id. */
      is_listed: z.boolean(),
      os_version: z.string(),
      source: z.string().nullable(),
      sha256: z.string().nullable(),
      vendor: z.string(),
      kernel_vendor: z.string(),
      licence: z.string(),
      homepage: z.string().nullable(),
    }),
  ),
});
export type CatalogueList = z.infer<typeof catalogueList>;

/** What the stored bytes of a public image are, beside what the catalogue says (ADV-04). */
export const catalogueVerification = z.object({
  key: z.string(),
  version: z.string(),
  image_id: z.string(),
  expected_sha256: z.string(),
  found_sha256: z.string(),
  size: z.number().int(),
  is_genuine: z.boolean(),
});
export type CatalogueVerification = z.infer<typeof catalogueVerification>;

/** `POST /v1/cloudimages/{image_id}/market/action` (IMG-14). An operation that is none of these is IMG.0048. */
export const MARKET_OPERATIONS = ['publish', 'approve', 'refuse', 'withdraw'] as const;
export const marketActionRequest = z.strictObject({
  operation: z.enum(MARKET_OPERATIONS, {
    error: refusal('IMG.0048', `the operation must be one of ${MARKET_OPERATIONS.join(', ')}`),
  }),
  /** Where it is published: on the market. Images become public by the catalogue alone. */
  mode: z.enum(['market', 'public'], { error: refusal('IMG.0085', 'mode must be market') }).default('market'),
  /** Of the provider's own choice; generated when left out. */
  product_code: z
    .string()
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
      malformed('product_code', 'must be of letters, digits, . _ and -, at most 64'),
    )
    .optional(),
  reason: line('reason', 512).optional(),
});
export type MarketActionRequest = z.infer<typeof marketActionRequest>;

export const marketListing = z.object({
  image_id: z.string(),
  image_name: z.string(),
  owner: z.string(),
  product_code: z.string(),
  status: z.enum(LISTING_STATUSES),
  approved_by: z.array(z.enum(LISTING_PARTIES)),
  reason: z.string().nullable(),
});
export type MarketListing = z.infer<typeof marketListing>;

export const marketListings = z.object({ listings: z.array(marketListing) });
export type MarketListings = z.infer<typeof marketListings>;

export const marketListingsQuery = z
  .object({
    status: z.enum(LISTING_STATUSES, malformed('status', `must be one of ${LISTING_STATUSES.join(', ')}`)),
  })
  .partial();
export type MarketListingsQuery = z.infer<typeof marketListingsQuery>;
