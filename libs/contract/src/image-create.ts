import { z } from 'zod';
import { type BootCheckWish, bootCheckWish } from './cloud-jobs';

/** Steps of the saga `image-create` for a file, in order. One list for workflow, events, metrics and the UI. */
export const IMAGE_CREATE_STEPS = ['inspect', 'ingest', 'verify', 'identify-os', 'publish', 'meter'] as const;

/** The same for a disk, a server's or another: a snapshot stands in for the disk until its bytes have been read back. */
export const DISK_IMAGE_CREATE_STEPS = [
  'snapshot',
  'ingest',
  'verify',
  'release-snapshot',
  'identify-os',
  'publish',
  'meter',
] as const;
/** The same for a backup of a server: it never changes, and belongs to this image alone from the first step on (CRE-18). */
export const BACKUP_IMAGE_CREATE_STEPS = [
  'claim-backup',
  'ingest',
  'verify',
  'identify-os',
  'publish',
  'meter',
] as const;
/** The same for a server that is backed up first: the image is one of that backup. */
export const WHOLE_SERVER_STEPS = [
  'quiesce',
  'disks',
  'seal',
  'release-snapshots',
  ...BACKUP_IMAGE_CREATE_STEPS,
] as const;
export type ImageCreateStep =
  | (typeof WHOLE_SERVER_STEPS)[number]
  | (typeof IMAGE_CREATE_STEPS)[number]
  | (typeof DISK_IMAGE_CREATE_STEPS)[number]
  | (typeof BACKUP_IMAGE_CREATE_STEPS)[number]
  | 'fetch'
  | 'boot-check';

/** A file that is kept byte for byte: what system is on it is its maker's word. */
export const KEPT_FILE_STEPS = [
  'inspect',
  'ingest',
  'verify',
  'publish',
  'meter',
] as const satisfies readonly ImageCreateStep[];

/** The same for a file of the web, which arrives first. */
export const WEB_FILE_STEPS = ['fetch', ...KEPT_FILE_STEPS] as const;

/** The steps of an image's making by what it is made from. */
export const STEPS_OF_SOURCE = {
  'bucket-file': IMAGE_CREATE_STEPS,
  'iso-file': KEPT_FILE_STEPS,
  'kept-file': KEPT_FILE_STEPS,
  'staged-file': KEPT_FILE_STEPS,
  'web-file': WEB_FILE_STEPS,
  server: DISK_IMAGE_CREATE_STEPS,
  backup: BACKUP_IMAGE_CREATE_STEPS,
  'whole-server': WHOLE_SERVER_STEPS,
  volume: DISK_IMAGE_CREATE_STEPS,
  'data-disk': DISK_IMAGE_CREATE_STEPS,
} as const satisfies Record<ImageSource['kind'], readonly ImageCreateStep[]>;

/** The steps of one job: a check that the disk boots, where it was asked for, comes last before the image can be seen. */
export function stepsOfImage(input: {
  source: { kind: ImageSource['kind'] };
  bootCheck?: BootCheckWish | undefined;
}): ImageCreateStep[] {
  const steps: readonly ImageCreateStep[] = STEPS_OF_SOURCE[input.source.kind];
  if (input.bootCheck === undefined) return [...steps];
  return steps.flatMap((step): ImageCreateStep[] => (step === 'publish' ? ['boot-check', step] : [step]));
}

/** Formats our inspection knows (image-formats 1). The name is the wire name of `disk_format`. */
export const DISK_FORMATS = [
  'raw',
  'qcow2',
  'qcow',
  'qed',
  'vmdk',
  'vhd',
  'vhdx',
  'vdi',
  'zvhd',
  'zvhd2',
  'iso',
] as const;
export type DiskFormat = (typeof DISK_FORMATS)[number];

/** A file in a bucket, by the caller's words (`image_url` is `bucket:object`). */
export const bucketFile = z.object({ bucket: z.string(), key: z.string() });
export type BucketFile = z.infer<typeof bucketFile>;

/** The same file pinned to one version: every ranged read is made on condition that it has not changed. */
export const pinnedFile = bucketFile.extend({
  etag: z.string(),
  sizeBytes: z.number().int().nonnegative(),
  modifiedAt: z.string(),
});
export type PinnedFile = z.infer<typeof pinnedFile>;

/** Digests of a whole file, lower-case hex. */
export const fileDigests = z.object({ md5: z.string(), sha256: z.string(), sha512: z.string() });
export type FileDigests = z.infer<typeof fileDigests>;

/** Backups of servers come from one of two services, of which CSBS is the retired one (ims-api 6.5). */
export const backupLine = z.enum(['CBR', 'CSBS']);
export type BackupLine = z.infer<typeof backupLine>;

/** A disk of several that are to show one moment, and the job that makes its image. */
export const diskOfSet = z.object({ jobId: z.string(), volumeId: z.string() });
export type DiskOfSet = z.infer<typeof diskOfSet>;

/**
 * What an image is made from: a file, the system disk of a server (CRE-01), all disks of a server's backup (CRE-16), one disk by its id, or one of
 * several data disks of a server (CRE-06).
 */
export const imageSource = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('bucket-file'), file: bucketFile }),
  /** An installation medium in a bucket, kept as the file it is (CRE-11). */
  z.object({ kind: z.literal('iso-file'), file: bucketFile }),
  /** A disk file in a bucket, kept as the file it is: what its vendor has published (ADV-04). */
  z.object({ kind: z.literal('kept-file'), file: bucketFile }),
  /** A file that has been sent to this service and lies in its staging area, kept as the file it is. */
  z.object({
    kind: z.literal('staged-file'),
    stagedId: z.string(),
    /** Taken while the file arrived; taken from the stored image afterwards when left out. */
    digests: fileDigests.optional(),
  }),
  /** A file of the web, brought into the staging area first and kept as the file it is. */
  z.object({ kind: z.literal('web-file'), uri: z.string(), stagedId: z.string() }),
  z.object({ kind: z.literal('server'), serverId: z.string() }),
  z.object({ kind: z.literal('backup'), backupId: z.string(), line: backupLine }),
  /** All disks of a server, by a backup that the job makes in a vault under the name `ims-` and the image's id (backends E3). */
  z.object({ kind: z.literal('whole-server'), serverId: z.string(), vaultId: z.string(), checkpointId: z.string() }),
  z.object({ kind: z.literal('volume'), volumeId: z.string() }),
  /** `set` has all disks of the call, this one among them: whichever job comes first freezes the moment for all. */
  z.object({ kind: z.literal('data-disk'), volumeId: z.string(), set: z.array(diskOfSet) }),
]);
export type ImageSource = z.infer<typeof imageSource>;

export const imageCreateInput = z.object({
  jobId: z.string(),
  /** Fencing epoch: raised when the reconciler starts the job again; a worker with an older one cannot commit. */
  epoch: z.number().int().positive(),
  projectId: z.string(),
  imageId: z.string(),
  imageName: z.string(),
  source: imageSource,
  minDiskGib: z.number().int(),
  osVersion: z.string().optional(),
  /** A system that is recognised on the disk counts more than `osVersion` (ims-api 6.2 E); otherwise the caller's word is kept. */
  detectedOsWins: z.boolean().optional(),
  architecture: z.enum(['x86', 'arm']),
  // Inputs recorded before there were data disks and quick imports lack both: they were for system disks by normal import.
  /** What the image is for: a system disk, or data alone (IMG-10). Decides the range of `minDiskGib`. */
  kind: z.enum(['system', 'data']).default('system'),
  /** The job that makes the image of the system disk that this data disk comes with: what is found on that one says whose data this is (ims-api 6.2 C). */
  systemJobId: z.string().optional(),
  /** Larger files of fewer formats (FMT-03, ims-api 6.3). */
  quickImport: z.boolean().default(false),
  /** Asks for a look at the serial console of a machine that starts from the disk. Absent: nobody asked. */
  bootCheck: bootCheckWish.optional(),
  /** The image was there before the job, waiting for its bytes: a job that fails leaves it waiting (ims-api 6.6, 12.7). */
  existing: z.boolean().default(false),
  /** What the image's maker declared it to be; a staged file must be of this format. */
  diskFormat: z.enum(DISK_FORMATS).optional(),
  /** The key that its bytes are kept under, for an encrypted image (ENC-02). */
  cmkId: z.string().optional(),
  /** What the stored bytes of a kept file must be, lower-case hex: nothing else becomes active (ADV-04). */
  sha256: z.string().optional(),
});
export type ImageCreateInput = z.infer<typeof imageCreateInput>;

/** What every activity of a job is told. */
export interface StepInput {
  jobId: string;
  epoch: number;
}

/** Sagas at whose end there is an image, by the same steps: verify, publish, meter. */
export type ImageSaga = 'image-create' | 'image-copy' | 'image-receive';

/** What the steps that end an image's making are told, whatever it was made from. */
export interface ImageJob extends StepInput {
  /** `image-create` when left out, as in executions recorded before there were others. */
  saga?: ImageSaga;
  projectId: string;
  imageId: string;
  imageName: string;
  /** What of the job's own has to be let go of in the end. */
  source?: ImageSource;
  kind?: 'system' | 'data';
  systemJobId?: string | undefined;
  /** The image was there before the job. */
  existing?: boolean;
  diskFormat?: DiskFormat | undefined;
  /** The key that its bytes are kept under, for an encrypted image (ENC-02). */
  cmkId?: string | undefined;
}

export const imageSagaOf = ({ saga }: { saga?: ImageSaga }): ImageSaga => saga ?? 'image-create';

export const inspectedSource = z.object({
  file: pinnedFile,
  format: z.enum(DISK_FORMATS),
  /** Size of the disk in the file. */
  virtualSizeBytes: z.number().int().positive(),
  /** What is stored: the disk in the file (when left out), or the file itself, byte for byte. */
  form: z.enum(['disk', 'file']).optional(),
  /** The file lies in the staging area under this name, not in a bucket. */
  stagedId: z.string().optional(),
  /** Taken while the file arrived. */
  digests: fileDigests.optional(),
  /** Nobody has looked into the file: its format is its sender's word, and no converter or server may have it before somebody has. */
  isUnseen: z.literal(true).optional(),
});
export type InspectedSource = z.infer<typeof inspectedSource>;

/** A file of the web that has arrived. */
export const fetchedFile = z.object({ stagedId: z.string(), sizeBytes: z.number().int().positive() });
export type FetchedFile = z.infer<typeof fetchedFile>;

/** A disk as it was at one moment, held by its snapshot until that is released. */
export const snapshottedDisk = z.object({
  snapshotId: z.string(),
  volumeId: z.string(),
  /** The server that has the disk; `null` for a disk of none. */
  serverId: z.string().nullable(),
  virtualSizeBytes: z.number().int().positive(),
  /** What was done so that the snapshot shows one moment. */
  quiescedBy: z.enum(['no-writer', 'writes-held', 'guest-paused']),
});
export type SnapshottedDisk = z.infer<typeof snapshottedDisk>;

/** The image is this very file, not the disk in it. */
export const isKeptFile = (source: AcquiredSource): source is InspectedSource & { form: 'file' } =>
  'form' in source && source.form === 'file';
/** A server's backup that is this image's alone, with the disks in it. */
export const claimedBackup = z.object({
  backupId: z.string(),
  line: backupLine,
  serverId: z.string(),
  disks: z.array(
    z.object({
      diskBackupId: z.string(),
      device: z.string(),
      isSystemDisk: z.boolean(),
      virtualSizeBytes: z.number().int().positive(),
    }),
  ),
  /** Of all disks. */
  virtualSizeBytes: z.number().int().positive(),
  /** What the backup takes in its service, which is what an image of it is charged by (BIL-03). */
  backupBytes: z.number().int().nonnegative(),
});
export type ClaimedBackup = z.infer<typeof claimedBackup>;

/** What `ingest` reads: whatever the first step of the source found or made. */
export type AcquiredSource = InspectedSource | SnapshottedDisk | ClaimedBackup;

export const releasedSnapshot = z.object({ snapshotId: z.string() });
export type ReleasedSnapshot = z.infer<typeof releasedSnapshot>;

/** One disk in the image store. */
const storedDisk = z.object({
  domainId: z.string(),
  /** SHA-256 of the manifest bytes, hex; the manifest never changes. */
  manifestHash: z.string(),
  contentRoot: z.string(),
  virtualSizeBytes: z.number().int().positive(),
  /** Segments that hold data (zero segments are never stored). */
  segmentCount: z.number().int().nonnegative(),
  /** Compressed bytes of those segments, each distinct segment once. */
  storedBytes: z.number().int().nonnegative(),
  /** Length of the assembled ZVHD2 file, which is what a plain download serves. */
  fileBytes: z.number().int().nonnegative(),
  /** Bytes of the source that had to be read: of a differential image only what has changed (IMG-12). Not recorded by older executions. */
  bytesRead: z.number().int().nonnegative().optional(),
  /** Segments of an earlier image of the same disk that are known to be unchanged, and were not read. */
  segmentsTakenOver: z.number().int().nonnegative().optional(),
});
const storedDataDisk = storedDisk.extend({ device: z.string() });
export type StoredDataDisk = z.infer<typeof storedDataDisk>;

export const ingestedDisk = storedDisk.extend({
  /** The further disks of a whole server. */
  dataDisks: z.array(storedDataDisk).optional(),
});
export type IngestedDisk = z.infer<typeof ingestedDisk>;

/** The stored disk that is the image's content, by its name in the store and beside the image. */
export const CONTENT = 'content';
/** The disk inside the file that an image is. */
export const DISK_PART = 'disk';
const DATA_PART = 'data:';
/** The data disk of a whole server at this device. */
export const dataDiskPart = (device: string): string => `${DATA_PART}${device}`;
/** The device of such a disk; `undefined` for another part. */
export const deviceOfPart = (part: string): string | undefined =>
  part.startsWith(DATA_PART) ? part.slice(DATA_PART.length) : undefined;

export const verifiedDisk = z.object({
  /** Of all disks. */
  segmentsVerified: z.number().int().nonnegative(),
  contentRoot: z.string(),
  /** Roots of the further disks of a whole server, by device. */
  dataDiskRoots: z.record(z.string(), z.string()).optional(),
});
export type VerifiedDisk = z.infer<typeof verifiedDisk>;

export const identifiedOs = z.object({
  osType: z.enum(['Linux', 'Windows', 'Other']),
  osVersion: z.string(),
  platform: z.string(),
  osBit: z.enum(['32', '64']),
  architecture: z.enum(['x86', 'arm']),
  firmware: z.enum(['bios', 'uefi']),
  /** What the finding rests on, in words a person can check. */
  evidence: z.array(z.string()),
  /** What could not be told (CRE-33: never silent). */
  unknown: z.array(z.string()),
});
export type IdentifiedOs = z.infer<typeof identifiedOs>;

export const publishedImage = z.object({ imageId: z.string(), contentRoot: z.string() });
export type PublishedImage = z.infer<typeof publishedImage>;

export const meteredImage = z.object({
  /** The record by which what the image keeps is charged; `null` of a public image, which nobody is charged for (BIL-01). */
  usageId: z.string().nullable(),
  storedBytes: z.number().int().nonnegative(),
});
export type MeteredImage = z.infer<typeof meteredImage>;

export interface ImageCreateOutput {
  imageId: string;
}

/** The disk that servers get of an image that is a file. */
export const derivedDisk = z.object({
  domainId: z.string(),
  manifestHash: z.string(),
  contentRoot: z.string(),
  virtualSizeBytes: z.number().int().positive(),
  storedBytes: z.number().int().nonnegative(),
});
export type DerivedDisk = z.infer<typeof derivedDisk>;

/** The disks of the images that a job uses, each there to be read. */
export const derivedDisks = z.object({ disks: z.array(derivedDisk.extend({ imageId: z.string() })) });
export type DerivedDisks = z.infer<typeof derivedDisks>;

export interface ImageDigestInput {
  imageId: string;
  projectId: string;
  domainId: string;
  manifestHash: string;
  /** What a plain download serves; the ZVHD2 file of a disk when left out. */
  form?: 'disk' | 'file';
}
/** Digests of the file that a plain download serves. */
export interface ImageDigestOutput {
  md5: string;
  sha512: string;
  sizeBytes: number;
}
