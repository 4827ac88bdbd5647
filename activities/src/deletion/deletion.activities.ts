import {
  type DroppedStaged,
  droppedStaged,
  type ImageDeleteInput,
  type ReleasedOrigin,
  releasedOrigin,
} from '@ims/contract';
import { chargeOf, UsageRepository } from '@ims/db';
import { closeCharge } from '@ims/domain';
import { NeighbourError } from '@ims/neighbours';
import { failure } from '../step/failure';
import { jobSucceeded } from '../step/job-events';
import type { ActivityPorts } from '../step/ports';
import { runStep, runUndo } from '../step/run-step';
import { startJob } from '../step/start-job';

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'backups' | 'staged'>;

export function createDeletionActivities(ports: Ports) {
  return {
    /**
     * What the image was made from is free again; with `delete_backup` it goes too (ims-api 12.6). The claim first: a backup is not deleted while
     * an image holds it, and whatever becomes of the rest, another image can be made from it.
     */
    releaseOrigin: (input: ImageDeleteInput): Promise<ReleasedOrigin> =>
      runStep(ports, {
        name: 'release-origin',
        saga: 'image-delete',
        input,
        isFinal: true,
        parse: (output) => releasedOrigin.parse(output),
        effect: async () => {
          const { projectId, imageId, backup } = input;
          await startJob(ports, 'release-origin', { jobId: input.jobId, epoch: input.epoch });
          if (backup === null) return { backupId: null, isBackupDeleted: false };
          await ports.backups.releaseFromImage({ projectId, backupId: backup.id, imageId });
          if (backup.isDeleted) await deleteBackup(ports, projectId, backup.id);
          return { backupId: backup.id, isBackupDeleted: backup.isDeleted };
        },
        companions: async (trx, { backupId, isBackupDeleted }) => {
          if (backupId === null || !isBackupDeleted) return [];
          const charged = await new UsageRepository(trx).lockOpenOfBackup(backupId);
          return charged === undefined ? [] : [closeCharge(chargeOf(charged), null)];
        },
      }),

    /** Also a deletion that failed lets go of backup and bytes: nobody else could free them from an image that is gone. */
    letGo: (input: ImageDeleteInput): Promise<void> =>
      runUndo(ports, {
        name: 'release-origin',
        saga: 'image-delete',
        input,
        effect: async () => {
          const { projectId, imageId, backup } = input;
          if (backup !== null) await ports.backups.releaseFromImage({ projectId, backupId: backup.id, imageId });
          await deleteStaged(ports, imageId);
        },
      }),

    /** What had arrived of an upload that nobody finished; a writer that is still under way fails. With it the job succeeds. */
    dropStaged: (input: ImageDeleteInput): Promise<DroppedStaged> =>
      runStep(ports, {
        name: 'drop-staged',
        saga: 'image-delete',
        input,
        isFinal: true,
        parse: (output) => droppedStaged.parse(output),
        effect: async () => ({ stagedFileId: await deleteStaged(ports, input.imageId) }),
        companions: () => [jobSucceeded(input.jobId, input.imageId)],
      }),
  };
}

async function deleteStaged({ staged }: Ports, imageId: string): Promise<string | null> {
  const file = await staged.findOfImage(imageId);
  if (file === undefined) return null;
  await staged.delete(file.id);
  return file.id;
}

async function deleteBackup({ backups }: Ports, projectId: string, backupId: string): Promise<void> {
  try {
    await backups.delete(projectId, backupId);
  } catch (err) {
    // Of the retired line, or claimed by another image in the meantime: neither passes.
    if (err instanceof NeighbourError) throw failure('IMG.0176', err.message, { cause: err });
    throw err;
  }
}
