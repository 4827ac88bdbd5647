import type { RateCard } from '@ims/billing';
import type { Authenticator } from '@ims/access';
import type { BucketStore } from '@ims/buckets';
import type { Clock, Database } from '@ims/db';
import type { ImageReferences, ImageStore } from '@ims/image-store';
import type { JobStarter } from '@ims/job-engine';
import type { KeyService } from '@ims/keys';
import type { StagedFiles } from '@ims/staging';
import type { Peers } from '@ims/peer';
import type { BackupsPort, ServersPort, VolumesPort } from '@ims/neighbours';
import type { Kysely, Transaction } from 'kysely';
import type { Logger } from 'pino';
import type { GatewayConfig } from './config';

export type ReadableStore = Pick<ImageStore, 'open' | 'manifestBytes' | 'answer'> &
  Pick<ImageReferences<Transaction<Database>>, 'release'>;
/** Buckets that exports go to; the gateway only looks whether an export can succeed. */
export type TargetBuckets = Pick<BucketStore, 'describeBucket' | 'pin'>;
export type Jobs = Pick<JobStarter, 'startNow' | 'cancel'>;

/** Servers, disks and backups, that images are made from and that are made from images; the gateway only looks at them. */
export interface SourceCloud {
  servers: Pick<ServersPort, 'get' | 'list'>;
  volumes: Pick<VolumesPort, 'get' | 'getSnapshot'>;
  backups: Pick<
    BackupsPort,
    | 'get'
    | 'list'
    | 'delete'
    | 'releaseFromImage'
    | 'createVault'
    | 'getVault'
    | 'isInRegion'
    | 'listVaults'
    | 'vaultOfServer'
    | 'addServer'
    | 'getCheckpoint'
  >;
}

/** What the gateway is built from; made by `main.ts` from configuration, and by specs from real parts of their own. */
export interface GatewayParts {
  config: GatewayConfig;
  db: Kysely<Database>;
  authenticator: Authenticator;
  store: ReadableStore;
  cloud: SourceCloud;
  staged: StagedFiles;
  /** `null` where this process has no access to them: the job looks. */
  buckets: TargetBuckets | null;
  /** Keys that encrypted images are kept under. */
  keys: KeyService;
  jobs: Jobs;
  /** Gateways of other regions. */
  peers: Peers;
  /** Prices; without them usage is told in quantities alone (BIL-12). */
  rateCard?: RateCard | undefined;
  clock: Clock;
  logger: Logger;
}
