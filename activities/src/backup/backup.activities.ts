import {
  type BackupLine,
  type ClaimedBackup,
  claimedBackup,
  type ImageCreateInput,
  type StepInput,
} from '@ims/contract';
import { ImagesRepository } from '@ims/db';
import { type Backup, claimBackup } from '@ims/neighbours';
import type { ActivityPorts } from '../step/ports';
import { runStep, runUndo } from '../step/run-step';
import { startJob } from '../step/start-job';

export interface ClaimInput extends ImageCreateInput {
  /** Made by the job itself; that of the source when left out. */
  backupId?: string;
}

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
    claimBackup: (input: ClaimInput): Promise<ClaimedBackup> =>
      runStep(ports, {
        name: 'claim-backup',
        saga: 'image-create',
        input,
        parse: (output) => claimedBackup.parse(output),
        effect: async () => {
          await startJob(ports, 'claim-backup', input);
          const { backupId, line } = backupOf(input);
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

function backupOf({ source, backupId }: ClaimInput): { backupId: string; line: BackupLine } {
  if (source.kind === 'backup') return source;
  if (source.kind === 'whole-server' && backupId !== undefined) return { backupId, line: 'CBR' };
  // The saga calls this step for backups alone; anything else here is a defect of it.
  throw new TypeError(`a ${source.kind} is no backup`);
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
