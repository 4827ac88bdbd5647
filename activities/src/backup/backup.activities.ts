import { type ClaimedBackup, claimedBackup, type ImageCreateInput, type StepInput } from '@ims/contract';
import { ImagesRepository } from '@ims/db';
import { type Backup, claimBackup } from '@ims/neighbours';
import type { ActivityPorts } from '../step/ports';
import { runStep, runUndo } from '../step/run-step';
import { startJob } from '../step/start-job';

export interface ReleaseClaimInput extends StepInput {
  projectId: string;
  imageId: string;
  backupId: string;
}

const GIB = 2 ** 30;

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'backups'>;

/** The source of an image of a whole server: a backup, which for as long as the image lives is that image's alone (CRE-18). */
export function createBackupActivities(ports: Ports) {
  const images = new ImagesRepository(ports.db);
  return {
    /** Looks once more whether the backup may become an image (time has passed since the call was accepted) and claims it. */
    claimBackup: (input: ImageCreateInput): Promise<ClaimedBackup> =>
      runStep(ports, {
        name: 'claim-backup',
        saga: 'image-create',
        input,
        parse: (output) => claimedBackup.parse(output),
        effect: async () => {
          // The saga calls this step for backups alone; anything else here is a defect of it.
          if (input.source.kind !== 'backup') throw new TypeError(`a ${input.source.kind} is no backup`);
          await startJob(ports, 'claim-backup', input);
          const { backupId, line } = input.source;
          const { projectId, imageId } = input;
          return claimedOf(await claimBackup(ports.backups, images, { projectId, backupId, line, imageId }));
        },
      }),

    releaseBackup: (input: ReleaseClaimInput): Promise<void> =>
      runUndo(ports, {
        name: 'claim-backup',
        saga: 'image-create',
        input,
        effect: () => ports.backups.releaseFromImage(input),
      }),
  };
}

function claimedOf(backup: Backup): ClaimedBackup {
  const disks = backup.children.map(({ id, device, isSystemDisk, sizeGib }) => ({
    diskBackupId: id,
    device,
    isSystemDisk,
    virtualSizeBytes: sizeGib * GIB,
  }));
  return {
    backupId: backup.id,
    line: backup.line,
    serverId: backup.serverId,
    disks,
    virtualSizeBytes: disks.reduce((sum, { virtualSizeBytes }) => sum + virtualSizeBytes, 0),
    backupBytes: backup.children.reduce((sum, { storedBytes }) => sum + storedBytes, 0),
  };
}
