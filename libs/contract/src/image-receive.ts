import { z } from 'zod';
import { imageAttributes } from './image-attributes';
import { isImageId } from './ids';
import {
  CONTENT,
  deviceOfPart,
  DISK_FORMATS,
  type IngestedDisk,
  ingestedDisk,
  type InspectedSource,
} from './image-create';
import { imageLineage } from './image-lineage';

/** Steps of the saga `image-receive`: an image of another region becomes one of this region, whose gateway has accepted it. */
export const IMAGE_RECEIVE_STEPS = ['receive', 'verify', 'publish', 'meter'] as const;
/** The same for an image of a whole server, whose backup comes along (REP-11). */
export const WHOLE_IMAGE_RECEIVE_STEPS = ['receive', 'verify', 'record-backup', 'publish', 'meter'] as const;
export type ImageReceiveStep = (typeof WHOLE_IMAGE_RECEIVE_STEPS)[number];

/** A disk of the other region's image, by the hash of its manifest: the same bytes have the same one here. */
export const offeredDisk = z.object({
  /** `content`, or where the disk of a whole server was attached. */
  part: z.string().max(64),
  manifestHash: z.string().regex(/^[0-9a-f]{64}$/),
  virtualSizeBytes: z.number().int().positive(),
});
export type OfferedDisk = z.infer<typeof offeredDisk>;

/** The backup behind an image of a whole server, as its replica is recorded. */
export const offeredBackup = z.object({
  backupId: z.string(),
  name: z.string(),
  serverId: z.string(),
  serverName: z.string(),
  architecture: z.enum(['x86', 'arm']),
  sizeGib: z.number().int().positive(),
  disks: z.array(
    z.object({
      diskBackupId: z.string(),
      volumeId: z.string(),
      device: z.string(),
      isSystemDisk: z.boolean(),
      bootable: z.boolean(),
      sizeGib: z.number().int().positive(),
    }),
  ),
});
export type OfferedBackup = z.infer<typeof offeredBackup>;

export const imageReceiveInput = z.object({
  jobId: z.string(),
  /** Fencing epoch, as of every job. */
  epoch: z.number().int().positive(),
  projectId: z.string(),
  imageId: z.string(),
  imageName: z.string(),
  /** The job that sends, and where it is. */
  from: z.object({ region: z.string(), jobId: z.string(), imageId: z.string() }),
  /** The source image and those that it was made from, nearest first: what a replica of one of them has need not travel. */
  ancestors: z.array(z.string()),
  disks: z.array(offeredDisk),
  /** What the image is: a disk, or a file kept byte for byte, of this format and with a disk of this size in it. */
  file: z
    .object({ format: z.enum(DISK_FORMATS), virtualSizeBytes: z.number().int().positive(), isUnseen: z.boolean() })
    .optional(),
  /** The vault that takes the replica of the backup. */
  backup: offeredBackup.extend({ vaultId: z.string() }).optional(),
});
export type ImageReceiveInput = z.infer<typeof imageReceiveInput>;

export const receivedDisk = ingestedDisk.extend({
  /**
   * Bytes that crossed the border for it: of everything that the finished disk needed once, however often the link broke (BIL-10). What this region had
   * already did not travel.
   */
  wireBytes: z.number().int().nonnegative(),
});
export type ReceivedDisk = z.infer<typeof receivedDisk>;

export const recordedBackup = z.object({ backupId: z.string(), backupBytes: z.number().int().nonnegative() });
export type RecordedBackup = z.infer<typeof recordedBackup>;

export interface ImageReceiveOutput {
  imageId: string;
}

/** One content, and each further disk at a device of its own. */
function isOneImage(disks: readonly OfferedDisk[]): boolean {
  const parts = new Set(disks.map(({ part }) => part));
  const isKnown = (part: string): boolean => part === CONTENT || (deviceOfPart(part) ?? '') !== '';
  return parts.size === disks.length && parts.has(CONTENT) && disks.every(({ part }) => isKnown(part));
}

/** What a region says to another one to begin a replication. The job's id is the key: a second request of the same is the same. */
export const receiveOffer = z.object({
  /** Job of the sending region. */
  jobId: z.string().regex(/^[0-9a-f]{32}$/),
  /** Its fencing epoch there. */
  epoch: z.number().int().positive(),
  accountName: z.string().min(1).max(64),
  projectName: z.string().max(64).optional(),
  agencyName: z.string().max(64),
  vaultId: z.string().max(64).optional(),
  sourceImageId: z.string().max(64),
  image: z.object({
    imageId: z.string().refine((text): boolean => isImageId(text)),
    name: z.string().max(128),
    diskFormat: z.string().max(16),
    minDiskGib: z.number().int(),
    minRamMib: z.number().int(),
    tags: z.array(z.string().max(512)).max(64),
    attributes: imageAttributes,
  }),
  ancestors: z.array(z.string().max(64)).max(64),
  lineage: imageLineage.omit({ parentImageId: true }),
  disks: z.array(offeredDisk).max(64).refine(isOneImage, 'are not those of one image'),
  file: imageReceiveInput.shape.file,
  backup: offeredBackup.optional(),
});
export type ReceiveOffer = z.infer<typeof receiveOffer>;

/** A job as another region is asked about it: by the execution that asks. One that a newer execution has replaced is not listened to. */
export type SendingJob = Pick<ReceiveOffer, 'jobId' | 'epoch'>;

/** How far a replication is, as the receiving region tells it. */
export const receiveState = z.object({
  jobId: z.string(),
  imageId: z.string().nullable(),
  outcome: z.enum(['succeeded', 'failed', 'cancelled']).nullable(),
  errorCode: z.string().nullable(),
  reason: z.string().nullable(),
  /** Of the step that is running; 0 of 0 before the first report. */
  bytesDone: z.number().int().nonnegative(),
  bytesTotal: z.number().int().nonnegative(),
  /** Once it has succeeded. */
  wireBytes: z.number().int().nonnegative(),
  storedBytes: z.number().int().nonnegative(),
});
export type ReceiveState = z.infer<typeof receiveState>;

/**
 * What the last steps of an image's making are told of one that is a file: the bytes that have arrived are that file. Where it was before, a bucket say,
 * was another region's.
 */
export function keptFileOf({ file, from }: ImageReceiveInput, disk: IngestedDisk): { acquired?: InspectedSource } {
  if (file === undefined) return {};
  return {
    acquired: {
      file: {
        bucket: from.region,
        key: from.imageId,
        etag: disk.contentRoot,
        sizeBytes: disk.virtualSizeBytes,
        modifiedAt: '',
      },
      format: file.format,
      virtualSizeBytes: file.virtualSizeBytes,
      form: 'file',
      ...(file.isUnseen ? { isUnseen: true } : {}),
    },
  };
}
