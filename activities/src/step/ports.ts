import type { BucketStore } from '@ims/buckets';
import type { Clock, Database } from '@ims/db';
import type { ImageReferences, ImageStore } from '@ims/image-store';
import type { StagedFiles, WebDownloadOptions } from '@ims/staging';
import type { Peers } from '@ims/peer';
import type { BackupsPort, BootCheckPort, ServersPort, VolumesPort } from '@ims/neighbours';
import type { Kysely, Transaction } from 'kysely';

export const INSPECTION_TIMES = ['at-upload', 'at-use'] as const;
export type InspectionTime = (typeof INSPECTION_TIMES)[number];

/** Everything an activity can reach. Each factory takes only the part it needs. */
export interface ActivityPorts {
  db: Kysely<Database>;
  clock: Clock;
  store: ImageStore & ImageReferences<Transaction<Database>>;
  buckets: BucketStore;
  /** Bytes that arrived in pieces. */
  staged: StagedFiles;
  /** How files of the web are fetched, and from where they may be. */
  web: WebDownloadOptions;
  /** Backups that images are made from: one image each. */
  backups: Pick<
    BackupsPort,
    | 'get'
    | 'list'
    | 'createReplica'
    | 'claimForImage'
    | 'releaseFromImage'
    | 'openForImaging'
    | 'delete'
    | 'createCheckpoint'
    | 'getCheckpoint'
    | 'beginCheckpoint'
    | 'copyDisk'
    | 'sealCheckpoint'
    | 'releaseMoment'
    | 'dropDisks'
    | 'deleteCheckpoint'
    | 'changedSince'
    | 'getVault'
    | 'vaultOfServer'
  >;
  /** The servers and disks that images are made from, and that are made from images. */
  servers: Pick<ServersPort, 'get' | 'create' | 'start' | 'stop' | 'delete' | 'changeOs' | 'bootCheck'>;
  volumes: Pick<
    VolumesPort,
    'get' | 'create' | 'delete' | 'snapshot' | 'getSnapshot' | 'deleteSnapshot' | 'openForImaging'
  >;
  /** When somebody looks into a file that was sent to this service: before it becomes an image, or when a server first wants its disk. */
  inspection: InspectionTime;
  /** Whether a disk boots; says so where nothing can be booted. */
  bootChecks: BootCheckPort;
  /** Gateways of other regions, which images are sent to and come from. */
  peers: Peers;
  region: string;
  /** Queue of follow-up workflows (digests), for their outbox rows. */
  controlQueue: string;
  /** Identity in attempts: which process did it. */
  worker: string;
}
