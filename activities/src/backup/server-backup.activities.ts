import {
  type BackUpInput,
  type CopiedDisk,
  copiedDisk,
  type CopiedDisks,
  copiedDisks,
  type DiskBackupInput,
  diskStep,
  ImsError,
  type QuiescedServer,
  quiescedServer,
  type ReleasedMoment,
  releasedMoment,
  type SealedCheckpoint,
  sealedCheckpoint,
} from '@ims/contract';
import { chargeOf, UsageRepository } from '@ims/db';
import { openBackupCharge, voidCharge } from '@ims/domain';
import { checkpointRefusalOf, NeighbourError, serverToBackUp } from '@ims/neighbours';
import { jobSucceeded } from '../step/job-events';
import type { ActivityPorts } from '../step/ports';
import { progressReporter } from '../step/progress';
import { runStep, runUndo } from '../step/run-step';
import { startJob } from '../step/start-job';
import { deleteUnlessImaged } from './unmade-checkpoint';

export interface JoinDisksInput extends BackUpInput {
  copied: readonly CopiedDisk[];
}
export interface SealInput extends BackUpInput {
  backupId: string;
}

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'backups' | 'servers' | 'volumes'>;

/** Backups of servers: one moment of all disks, each disk copied for itself, and a checkpoint of all of them or of none. */
export function createServerBackupActivities(ports: Ports) {
  const { backups } = ports;
  return {
    /** Looks once more whether the server may be backed up (time has passed since the call was accepted) and freezes its moment (CRE-16, CRE-17). */
    quiesceServer: (input: BackUpInput): Promise<QuiescedServer> =>
      runStep(ports, {
        name: 'quiesce',
        saga: input.saga,
        input,
        parse: (output) => quiescedServer.parse(output),
        effect: async () => {
          const { projectId, checkpointId: id, vaultId, serverId, name, imageId } = input;
          await startJob(ports, 'quiesce', {
            jobId: input.jobId,
            epoch: input.epoch,
            ...(imageId === undefined ? {} : { imageId }),
          });
          // Begun by an attempt that died: the server is busy with this very backup.
          if ((await backups.getCheckpoint(projectId, id)) === undefined)
            await serverToBackUp(ports, { projectId, serverId, vaultId, isForImage: input.saga === 'image-create' });
          return refusedByService(() => backups.beginCheckpoint({ id, projectId, vaultId, serverId, name }));
        },
      }),

    /** Of one disk what the backup before does not have. Goes on where a dead attempt stopped. */
    copyDisk: (input: DiskBackupInput): Promise<CopiedDisk> =>
      runStep(ports, {
        name: diskStep(input.disk),
        saga: 'disk-backup',
        input,
        parse: (output) => copiedDisk.parse(output),
        effect: async (run) => {
          const { projectId, checkpointId, volumeId } = input;
          // One progress for all disks: it is that of the job's step.
          const progress = progressReporter(ports, run, input.jobId, 'disks');
          try {
            return await refusedByService(() =>
              backups.copyDisk({
                projectId,
                checkpointId,
                volumeId,
                signal: run.signal,
                onProgress: (done, total) => progress.tick(done, total),
              }),
            );
          } finally {
            await progress.settle();
          }
        },
      }),

    /** The set is whole: every disk of the moment has been copied. */
    joinDisks: (input: JoinDisksInput): Promise<CopiedDisks> =>
      runStep(ports, {
        name: 'disks',
        saga: input.saga,
        input,
        parse: (output) => copiedDisks.parse(output),
        effect: () => {
          const disks = input.copied.toSorted((a, b) => (a.device < b.device ? -1 : 1));
          const sumOf = (of: 'bytesRead' | 'bytesStored'): number => disks.reduce((sum, disk) => sum + disk[of], 0);
          return Promise.resolve({ disks, bytesRead: sumOf('bytesRead'), bytesStored: sumOf('bytesStored') });
        },
      }),

    /** The checkpoint and its backup become available at once; from now on the backup is charged (BIL-03). */
    sealCheckpoint: (input: BackUpInput): Promise<SealedCheckpoint> =>
      runStep(ports, {
        name: 'seal',
        saga: input.saga,
        input,
        parse: (output) => sealedCheckpoint.parse(output),
        effect: async () => {
          const { projectId, checkpointId } = input;
          const sealed = await refusedByService(() => backups.sealCheckpoint(projectId, checkpointId));
          const { backupId, bytesRead, bytesStored } = sealed;
          return { checkpointId, backupId, bytesRead, bytesStored };
        },
        companions: (_trx, { backupId, bytesStored }) => [
          openBackupCharge({ backupId, imageId: null, bytes: bytesStored }),
        ],
      }),

    /** The disks need not keep their moment any longer. A job that was only to back the server up has succeeded with it. */
    releaseMoment: (input: BackUpInput): Promise<ReleasedMoment> =>
      runStep(ports, {
        name: 'release-snapshots',
        saga: input.saga,
        input,
        parse: (output) => releasedMoment.parse(output),
        effect: async () => {
          await backups.releaseMoment(input.projectId, input.checkpointId);
          return { checkpointId: input.checkpointId };
        },
        companions: () => (input.saga === 'server-backup' ? [jobSucceeded(input.jobId, null)] : []),
      }),

    dropMoment: (input: BackUpInput): Promise<void> =>
      runUndo(ports, {
        name: 'quiesce',
        saga: input.saga,
        input,
        effect: async () => {
          const { projectId, checkpointId } = input;
          await deleteUnlessImaged(ports, projectId, checkpointId);
          await backups.releaseMoment(projectId, checkpointId);
        },
      }),

    dropDisks: (input: BackUpInput): Promise<void> =>
      runUndo(ports, {
        name: 'disks',
        saga: input.saga,
        input,
        effect: () => backups.dropDisks(input.projectId, input.checkpointId),
      }),

    unsealCheckpoint: (input: SealInput): Promise<void> =>
      runUndo(ports, {
        name: 'seal',
        saga: input.saga,
        input,
        effect: () => deleteUnlessImaged(ports, input.projectId, input.checkpointId),
        companions: async (trx) => {
          // Somebody has it as an image and goes on paying for it.
          if ((await backups.get(input.projectId, input.backupId)) !== undefined) return [];
          const charged = await new UsageRepository(trx).lockOpenOfBackup(input.backupId);
          return charged === undefined ? [] : [voidCharge(chargeOf(charged), null)];
        },
      }),
  };
}

async function refusedByService<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (err) {
    // A disk that is open elsewhere is free again in a moment; that the server itself is busy was asked before.
    if (!(err instanceof NeighbourError) || err.refusal === 'BUSY') throw err;
    const { code, detail } = checkpointRefusalOf(err);
    throw new ImsError(code, detail);
  }
}
