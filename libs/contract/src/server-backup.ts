import { z } from 'zod';
import { type JobId, jobId } from './ids';

/** Steps of the saga `server-backup`: one moment of all disks of a server, kept in a vault. */
export const SERVER_BACKUP_STEPS = ['checkpoint'] as const;
export type ServerBackupStep = (typeof SERVER_BACKUP_STEPS)[number];

/** A checkpoint is made by the one job that bears its id: whoever knows the one knows the other. */
export const checkpointJobId = (checkpointId: string): JobId => jobId(checkpointId.replaceAll('-', ''));

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

/** A checkpoint with its backup, and what it took: an incremental one reads and stores only what has changed (IMG-12). */
export const madeCheckpoint = z.object({
  checkpointId: z.string(),
  backupId: z.string(),
  /** What was done so that all disks show one moment. */
  quiescedBy: z.enum(['no-writer', 'writes-held', 'guest-paused']),
  bytesRead: z.number().int().nonnegative(),
  bytesStored: z.number().int().nonnegative(),
});
export type MadeCheckpoint = z.infer<typeof madeCheckpoint>;
