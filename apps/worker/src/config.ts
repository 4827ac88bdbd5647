import { availableParallelism, hostname } from 'node:os';
import { INSPECTION_TIMES } from '@ims/activities';
import { parsePeers } from '@ims/peer';
import { webRulesOf } from '@ims/staging';
import { z } from 'zod';

const schema = z.object({
  IMS_REGION: z.string().default('region-1'),
  IMS_DATABASE_URL: z.string(),
  IMS_TEMPORAL_ADDRESS: z.string().default('127.0.0.1:7233'),
  IMS_TEMPORAL_NAMESPACE: z.string().default('default'),
  IMS_STORE_DIR: z.string(),
  /** The same as the gateways': it wraps the keys that encrypted images are kept under. */
  IMS_ROOT_KEY: z.string().regex(/^[0-9a-f]{64}$/i, 'must be 64 hex digits'),
  /** Disks of the embedded servers that images are made from. */
  IMS_CLOUD_DIR: z.string(),
  /** Bytes that are still arriving; the same directory as the gateways'. */
  IMS_STAGING_DIR: z.string(),
  // A day: long enough for whoever goes on with an upload on the next working day.
  IMS_UPLOAD_IDLE_SECONDS: z.coerce.number().int().positive().default(86_400),
  // As for the gateways, which answer a repeated call from what is kept.
  IMS_IDEMPOTENCY_SECONDS: z.coerce.number().int().positive().default(86_400),
  /** Ports that files of the web are fetched from, and the hosts and networks that may be asked although they are not public. */
  IMS_WEB_DOWNLOAD_PORTS: z.string().optional(),
  IMS_WEB_DOWNLOAD_ALLOW: z.string().optional(),
  // A project can keep as many bytes waiting as the largest image has (1 TiB).
  IMS_STAGING_PROJECT_BYTES: z.coerce
    .number()
    .int()
    .positive()
    .default(2 ** 40),
  /** Whether servers of the embedded cloud are virtual machines; where QEMU is not installed they stay records. */
  IMS_CLOUD_QEMU: z.enum(['0', '1']).default('0'),
  /** When files that were sent to the service are looked into; `at-use` lets anything in, but nothing unseen near a server. */
  IMS_INSPECTION: z.enum(INSPECTION_TIMES).default('at-upload'),
  /** Other regions, which images are sent to and come from. */
  IMS_PEERS: z.string().optional(),
  IMS_BUCKET_DRIVER: z.enum(['directory', 's3']).default('directory'),
  IMS_BUCKET_DIR: z.string().optional(),
  IMS_BUCKET_S3_ENDPOINT: z.string().optional(),
  IMS_BUCKET_S3_REGION: z.string().optional(),
  IMS_BUCKET_S3_ACCESS_KEY: z.string().optional(),
  IMS_BUCKET_S3_SECRET_KEY: z.string().optional(),
  // One ingest thread per core: more bring nothing on a warm cache.
  IMS_WORKER_THREADS: z.coerce.number().int().positive().default(availableParallelism()),
  // Transfers share cores and disk; two at once keep both busy while one waits for its source.
  IMS_WORKER_TRANSFERS: z.coerce.number().int().positive().default(2),
  /** How long what no live image needs stays for readers under way; the store's own measure when left out. */
  IMS_STORE_GRACE_SECONDS: z.coerce.number().int().nonnegative().optional(),
  IMS_WORKFLOW_BUNDLE: z.string().optional(),
  IMS_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
});

export type WorkerConfig = ReturnType<typeof readConfig>;

/** Everything the process is told, parsed once; a wrong setting ends the start with its name. */
export function readConfig(env: NodeJS.ProcessEnv = process.env) {
  const e = schema.parse(env);
  return {
    region: e.IMS_REGION,
    databaseUrl: e.IMS_DATABASE_URL,
    temporal: { address: e.IMS_TEMPORAL_ADDRESS, namespace: e.IMS_TEMPORAL_NAMESPACE },
    storeDir: e.IMS_STORE_DIR,
    rootKey: e.IMS_ROOT_KEY,
    cloudDir: e.IMS_CLOUD_DIR,
    staging: { directory: e.IMS_STAGING_DIR, maxProjectBytes: e.IMS_STAGING_PROJECT_BYTES },
    cloudQemu: e.IMS_CLOUD_QEMU === '1',
    uploadIdleMs: e.IMS_UPLOAD_IDLE_SECONDS * 1_000,
    idempotencyMs: e.IMS_IDEMPOTENCY_SECONDS * 1_000,
    // Ten times before it is due, so that one is late by a tenth at most; never more often than a second, never less than a minute.
    sweepEveryMs: Math.min(60_000, Math.max(1_000, e.IMS_UPLOAD_IDLE_SECONDS * 100)),
    webRules: webRulesOf({ ports: e.IMS_WEB_DOWNLOAD_PORTS, allow: e.IMS_WEB_DOWNLOAD_ALLOW }),
    inspection: e.IMS_INSPECTION,
    peers: parsePeers(e.IMS_PEERS),
    buckets: {
      driver: e.IMS_BUCKET_DRIVER,
      directory: e.IMS_BUCKET_DIR,
      endpoint: e.IMS_BUCKET_S3_ENDPOINT,
      region: e.IMS_BUCKET_S3_REGION,
      accessKeyId: e.IMS_BUCKET_S3_ACCESS_KEY,
      secretAccessKey: e.IMS_BUCKET_S3_SECRET_KEY,
    },
    threads: e.IMS_WORKER_THREADS,
    transfers: e.IMS_WORKER_TRANSFERS,
    collectGrace: e.IMS_STORE_GRACE_SECONDS === undefined ? {} : { collectGraceMs: e.IMS_STORE_GRACE_SECONDS * 1_000 },
    workflowBundle: e.IMS_WORKFLOW_BUNDLE,
    logLevel: e.IMS_LOG_LEVEL,
    identity: `${hostname()}:${process.pid}`,
  };
}
