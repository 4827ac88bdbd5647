import { z } from 'zod';
import { type JobId, jobId } from './ids';
import type { StepInput } from './image-create';

/** Steps by which a server is backed up, whatever the backup is for: one moment of all its disks, the disks, and a checkpoint of them in a vault. */
export const BACK_UP_STEPS = ['quiesce', 'disks', 'seal', 'release-snapshots'] as const;
export type BackUpStep = (typeof BACK_UP_STEPS)[number];

/** Steps of the saga `server-backup`. */
export const SERVER_BACKUP_STEPS = BACK_UP_STEPS;
/** Executions recorded before disks were copied one by one have a single step. */
export type ServerBackupStep = BackUpStep | 'checkpoint';

/** A checkpoint is made by the one job that bears its id: whoever knows the one knows the other. */
export const checkpointJobId = (checkpointId: string): JobId => jobId(checkpointId.replaceAll('-', ''));
export const jobCheckpointId = (id: string): string =>
  id.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');

export const serverBackupInput = z.object({
  jobId: z.string(),
  /** Fencing epoch, as of every job. */
  epoch: z.number().int().positive(),
  projectId: z.string(),
  checkpointId: z.string(),
  vaultId: z.string(),
  serverId: z.string(),
  /** Of the backup. */
  name: z.string(),
});
export type ServerBackupInput = z.infer<typeof serverBackupInput>;

/** What the steps of a backup are told. */
export interface BackUpInput extends ServerBackupInput {
  /** Whose steps they are. */
  saga: 'server-backup' | 'image-create';
  /** The image that the backup is for. */
  imageId?: string;
}

/** A checkpoint with its backup, made in one step. */
export const madeCheckpoint = z.object({
  checkpointId: z.string(),
  backupId: z.string(),
  /** What was done so that all disks show one moment. */
  quiescedBy: z.enum(['no-writer', 'writes-held', 'guest-paused']),
  bytesRead: z.number().int().nonnegative(),
  bytesStored: z.number().int().nonnegative(),
});
export type MadeCheckpoint = z.infer<typeof madeCheckpoint>;

/** All disks of a server at one moment. */
export const quiescedServer = z.object({
  checkpointId: z.string(),
  backupId: z.string(),
  quiescedBy: z.enum(['no-writer', 'writes-held', 'guest-paused']),
  disks: z.array(
    z.object({
      volumeId: z.string(),
      device: z.string(),
      isSystemDisk: z.boolean(),
      sizeGib: z.number().int().nonnegative(),
    }),
  ),
});
export type QuiescedServer = z.infer<typeof quiescedServer>;

/** One disk of the moment in its vault: only what the backup before did not have moved (IMG-12). */
export const copiedDisk = z.object({
  diskBackupId: z.string(),
  volumeId: z.string(),
  device: z.string(),
  isIncremental: z.boolean(),
  segmentsChanged: z.number().int().nonnegative(),
  bytesRead: z.number().int().nonnegative(),
  bytesStored: z.number().int().nonnegative(),
});
export type CopiedDisk = z.infer<typeof copiedDisk>;

export const copiedDisks = z.object({
  disks: z.array(copiedDisk),
  bytesRead: z.number().int().nonnegative(),
  bytesStored: z.number().int().nonnegative(),
});
export type CopiedDisks = z.infer<typeof copiedDisks>;

export const sealedCheckpoint = z.object({
  checkpointId: z.string(),
  backupId: z.string(),
  bytesRead: z.number().int().nonnegative(),
  bytesStored: z.number().int().nonnegative(),
});
export type SealedCheckpoint = z.infer<typeof sealedCheckpoint>;

export const releasedMoment = z.object({ checkpointId: z.string() });
export type ReleasedMoment = z.infer<typeof releasedMoment>;

/** Input of the child workflow that copies one disk. */
export interface DiskBackupInput extends StepInput {
  projectId: string;
  checkpointId: string;
  /** Of the moment's disks, from 0. */
  disk: number;
  volumeId: string;
  device: string;
}

const DISK_STEP = 'disk-';
/** The step that a disk's copying is in the stream of its job. */
export const diskStep = (disk: number): string => `${DISK_STEP}${disk}`;
export const isDiskStep = (step: string): boolean => /^disk-\d+$/.test(step);

/**
 * Id of the child that copies one disk. Its epoch is in it: a job that is started again must not run into children of the execution before, which may
 * be on their way out.
 */
export const diskBackupWorkflowId = ({
  jobId: id,
  disk,
  epoch,
}: {
  jobId: string;
  disk: number;
  epoch: number;
}): string => `${id}-${diskStep(disk)}-${epoch}`;
/** The step whose child has this id; `undefined` for an id of something else. */
export const diskStepOfWorkflow = (workflowId: string): string | undefined => /-(disk-\d+)-\d+$/.exec(workflowId)?.[1];
