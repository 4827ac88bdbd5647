import {
  type Agency,
  DEFAULT_MAX_TAGS,
  DEFAULT_RETENTION_DAYS,
  MOST_RETENTION_DAYS,
  MOST_TAGS,
  type ReplicationLimits,
} from '@ims/domain';
import { parseAgencies, parsePeers, type PeerAddress } from '@ims/peer';
import type { BucketsConfig } from '@ims/buckets';
import type { ExportSettings, ShareLimits } from '@ims/domain';
import { type WebRules, webRulesOf } from '@ims/staging';
import { z } from 'zod';

const url = z.url({ protocol: /^https?$/ }).transform((text) => text.replace(/\/+$/, ''));
const blankIsAbsent = (value: unknown): unknown => (value === '' ? undefined : value);
const optional = <T extends z.ZodType>(schema: T) => z.preprocess(blankIsAbsent, schema.optional());

const environment = z.object({
  IMS_REGION: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be lower-case letters, digits and hyphens')
    .default('region-1'),
  IMS_DATABASE_URL: z.string().min(1),
  IMS_TEMPORAL_ADDRESS: z.string().min(1).default('127.0.0.1:7233'),
  IMS_TEMPORAL_NAMESPACE: z.string().min(1).default('default'),
  IMS_TEMPORAL_UI_URL: optional(url),
  IMS_GATEWAY_HOST: z.string().min(1).default('127.0.0.1'),
  // 0 lets the system choose; the listening address is in the log line "gateway ready".
  IMS_GATEWAY_PORT: z.coerce.number().int().min(0).max(65_535).default(8080),
  IMS_PUBLIC_URL: optional(url),
  IMS_STORE_DIR: z.string().min(1),
  /** Disks of the embedded servers that images are made from. */
  IMS_CLOUD_DIR: z.string().min(1),
  /** Bytes that are still arriving; the same directory as the workers'. */
  IMS_STAGING_DIR: z.string().min(1),
  /** As for the worker, which ends uploads that nobody goes on with. */
  IMS_UPLOAD_IDLE_SECONDS: z.coerce.number().int().positive().default(86_400),
  // A day, as long as anybody tries a call again: IMS_IDEMPOTENCY_SECONDS of the workers, which remove older keys, is the same.
  IMS_IDEMPOTENCY_SECONDS: z.coerce.number().int().positive().default(86_400),
  /** A stream of events ends after this long; whoever goes on shows anew that it still may. */
  IMS_EVENT_STREAM_SECONDS: z.coerce.number().int().positive().default(900),
  /** As for the worker, which fetches: an address that it would refuse is refused at once. */
  IMS_WEB_DOWNLOAD_PORTS: z.string().optional(),
  IMS_WEB_DOWNLOAD_ALLOW: z.string().optional(),
  // A project can keep as many bytes waiting as the largest image has (1 TiB).
  IMS_STAGING_PROJECT_BYTES: z.coerce
    .number()
    .int()
    .positive()
    .default(2 ** 40),
  /** Other regions: JSON of `{"<region>": {"url", "secret"}}`; without any there is no peer port. */
  IMS_PEERS: z.string().optional(),
  /** Agencies by which images may be copied between regions: JSON of `{"<agency>": ["<region>", …]}`. */
  IMS_AGENCIES: z.string().optional(),
  // REP-06 and REP-09: how many copies to other regions a tenant may have at once, and whether an image may be in several of them.
  IMS_REPLICATIONS_PER_TENANT: z.coerce.number().int().positive().default(5),
  IMS_REPLICATIONS_PER_IMAGE: z.enum(['one', 'any']).default('one'),
  /** MGT-03: tags that an image may have. */
  IMS_TAGS_PER_IMAGE: z.coerce.number().int().min(1).max(MOST_TAGS).default(DEFAULT_MAX_TAGS),
  /** For how many days deleted images stay in the recycle bin, in projects that have chosen nothing else; 0: they are gone at once. */
  IMS_RECYCLE_BIN_DAYS: z.coerce.number().int().min(0).max(MOST_RETENTION_DAYS).default(DEFAULT_RETENTION_DAYS),
  /** SHR-03 and SHR-04: with how many an image may be shared, and one of a whole server. */
  IMS_SHARES_PER_IMAGE: z.coerce.number().int().positive().default(128),
  IMS_SHARES_PER_WHOLE_IMAGE: z.coerce.number().int().positive().default(10),
  /** File with the prices of this installation (infra/rate-card.example.json). */
  IMS_RATE_CARD: z.preprocess(blankIsAbsent, z.string().min(1).optional()),
  /** File with the public images of this region (infra/catalogue.example.yaml). */
  IMS_CATALOGUE: optional(z.string().min(1)),
  /** The same, for a region that has never had any: whatever is loaded later stays. */
  IMS_FIRST_CATALOGUE: optional(z.string().min(1)),
  /** The buckets that the worker writes exports to, if this process may see them: then a refusal comes with the call. */
  IMS_BUCKET_DRIVER: z.enum(['directory', 's3']).default('directory'),
  IMS_BUCKET_DIR: optional(z.string()),
  IMS_BUCKET_S3_ENDPOINT: optional(z.string()),
  IMS_BUCKET_S3_REGION: optional(z.string()),
  IMS_BUCKET_S3_ACCESS_KEY: optional(z.string()),
  IMS_BUCKET_S3_SECRET_KEY: optional(z.string()),
  /** Whether images above 128 GB may be exported in every format, and whether an image of exactly 1 TB may not be exported. */
  IMS_EXPORT_LARGE: z.enum(['0', '1']).default('0'),
  IMS_EXPORT_BELOW_1TB: z.enum(['0', '1']).default('0'),
  IMS_ROOT_KEY: z.string().regex(/^[0-9a-f]{64}$/i, 'must be 64 hex digits'),
  IMS_LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
});

/** What the gateway was told at its start; parsed once, injected, and read from nowhere else. */
export class GatewayConfig {
  readonly region: string;
  readonly databaseUrl: string;
  readonly temporal: { readonly address: string; readonly namespace: string; readonly uiUrl: string | undefined };
  readonly host: string;
  readonly port: number;
  /** Address that clients use, without a trailing slash. */
  readonly publicUrl: string;
  readonly storeDirectory: string;
  readonly cloudDirectory: string;
  readonly staging: { readonly directory: string; readonly maxProjectBytes: number };
  readonly uploadIdleMs: number;
  readonly idempotencyMs: number;
  readonly eventStreamMs: number;
  readonly webRules: WebRules;
  readonly peers: ReadonlyMap<string, PeerAddress>;
  readonly agencies: readonly Agency[];
  readonly replications: ReplicationLimits;
  readonly shares: ShareLimits;
  readonly maxTags: number;
  readonly retentionDays: number;
  readonly rateCardFile: string | undefined;
  /** `isFirst`: only for a region that has never had a catalogue. */
  readonly catalogue: { readonly file: string; readonly isFirst: boolean } | undefined;
  readonly buckets: BucketsConfig | undefined;
  readonly exports: ExportSettings;
  readonly rootKey: string;
  readonly logLevel: string;

  /** @throws Error that names each variable that is missing or malformed, never its value */
  constructor(variables: Record<string, string | undefined>) {
    const parsed = environment.safeParse(variables);
    if (!parsed.success) {
      const complaints = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
      throw new Error(`configuration of the gateway: ${complaints.join('; ')}`);
    }
    const values = parsed.data;
    this.region = values.IMS_REGION;
    this.databaseUrl = values.IMS_DATABASE_URL;
    this.temporal = {
      address: values.IMS_TEMPORAL_ADDRESS,
      namespace: values.IMS_TEMPORAL_NAMESPACE,
      uiUrl: values.IMS_TEMPORAL_UI_URL,
    };
    this.host = values.IMS_GATEWAY_HOST;
    this.port = values.IMS_GATEWAY_PORT;
    this.publicUrl = values.IMS_PUBLIC_URL ?? `http://${values.IMS_GATEWAY_HOST}:${values.IMS_GATEWAY_PORT}`;
    this.storeDirectory = values.IMS_STORE_DIR;
    this.cloudDirectory = values.IMS_CLOUD_DIR;
    this.staging = { directory: values.IMS_STAGING_DIR, maxProjectBytes: values.IMS_STAGING_PROJECT_BYTES };
    this.uploadIdleMs = values.IMS_UPLOAD_IDLE_SECONDS * 1_000;
    this.idempotencyMs = values.IMS_IDEMPOTENCY_SECONDS * 1_000;
    this.eventStreamMs = values.IMS_EVENT_STREAM_SECONDS * 1_000;
    this.webRules = webRulesOf({ ports: values.IMS_WEB_DOWNLOAD_PORTS, allow: values.IMS_WEB_DOWNLOAD_ALLOW });
    this.peers = parsePeers(values.IMS_PEERS);
    this.agencies = parseAgencies(values.IMS_AGENCIES);
    this.shares = { perImage: values.IMS_SHARES_PER_IMAGE, perWholeImage: values.IMS_SHARES_PER_WHOLE_IMAGE };
    this.replications = {
      perTenant: values.IMS_REPLICATIONS_PER_TENANT,
      isOnePerImage: values.IMS_REPLICATIONS_PER_IMAGE === 'one',
    };
    this.maxTags = values.IMS_TAGS_PER_IMAGE;
    this.retentionDays = values.IMS_RECYCLE_BIN_DAYS;
    this.rateCardFile = values.IMS_RATE_CARD;
    const catalogueFile = values.IMS_CATALOGUE ?? values.IMS_FIRST_CATALOGUE;
    this.catalogue =
      catalogueFile === undefined ? undefined : { file: catalogueFile, isFirst: values.IMS_CATALOGUE === undefined };
    this.buckets = bucketsOf(values);
    this.exports = {
      largeByNormal: values.IMS_EXPORT_LARGE === '1',
      belowLargest: values.IMS_EXPORT_BELOW_1TB === '1',
    };
    this.rootKey = values.IMS_ROOT_KEY;
    this.logLevel = values.IMS_LOG_LEVEL;
  }

  static fromEnvironment(): GatewayConfig {
    return new GatewayConfig(process.env);
  }
}

/** `undefined` unless all is there that is needed to look into them. */
function bucketsOf(values: z.infer<typeof environment>): BucketsConfig | undefined {
  if (values.IMS_BUCKET_DRIVER === 'directory') {
    const root = values.IMS_BUCKET_DIR;
    return root === undefined ? undefined : { driver: 'directory', root, region: values.IMS_REGION };
  }
  const {
    IMS_BUCKET_S3_ENDPOINT: endpoint,
    IMS_BUCKET_S3_ACCESS_KEY: accessKeyId,
    IMS_BUCKET_S3_SECRET_KEY: secretAccessKey,
  } = values;
  if (endpoint === undefined || accessKeyId === undefined || secretAccessKey === undefined) return undefined;
  const region = values.IMS_BUCKET_S3_REGION ?? values.IMS_REGION;
  return { driver: 's3', endpoint, region, accessKeyId, secretAccessKey, forcePathStyle: true };
}
