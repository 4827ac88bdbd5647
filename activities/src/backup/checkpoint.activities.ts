import { ImsError, type MadeCheckpoint, madeCheckpoint, type ServerBackupInput } from '@ims/contract';
import { openBackupCharge } from '@ims/domain';
import { checkpointRefusalOf, NeighbourError } from '@ims/neighbours';
import { jobSucceeded } from '../step/job-events';
import type { ActivityPorts } from '../step/ports';
import { progressReporter } from '../step/progress';
import { runStep, runUndo } from '../step/run-step';
import { startJob } from '../step/start-job';
import { deleteUnlessImaged } from './unmade-checkpoint';

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'backups'>;

/** Backups of servers in one step, as executions recorded before disks were copied one by one have it. */
export function createCheckpointActivities(ports: Ports) {
  return {
    /** One moment of all disks of the server, and of each what the backup before did not have. Goes on with the disks that are missing. */
    makeCheckpoint: (input: ServerBackupInput): Promise<MadeCheckpoint> =>
      runStep(ports, {
        name: 'checkpoint',
        saga: 'server-backup',
        input,
        parse: (output) => madeCheckpoint.parse(output),
        effect: async (run) => {
          const { projectId, checkpointId: id, vaultId, serverId, name } = input;
          await startJob(ports, 'checkpoint', { jobId: input.jobId, epoch: input.epoch });
          const progress = progressReporter(ports, run, input.jobId, 'checkpoint');
          try {
            const { backupId, quiescedBy, bytesRead, bytesStored } = await ports.backups.createCheckpoint({
              id,
              projectId,
              vaultId,
              serverId,
              name,
              signal: run.signal,
              onProgress: (done, total) => progress.tick(done, total),
            });
            return { checkpointId: id, backupId, quiescedBy, bytesRead, bytesStored };
          } catch (err) {
            if (!(err instanceof NeighbourError)) throw err;
            const { code, detail } = checkpointRefusalOf(err);
            throw new ImsError(code, detail);
          } finally {
            await progress.settle();
          }
        },
        companions: (_trx, { backupId, bytesStored }) => [
          openBackupCharge({ backupId, imageId: null, bytes: bytesStored }),
          jobSucceeded(input.jobId, null),
        ],
      }),

    dropCheckpoint: (input: ServerBackupInput): Promise<void> =>
      runUndo(ports, {
        name: 'checkpoint',
        saga: 'server-backup',
        input,
        effect: () => deleteUnlessImaged(ports, input.projectId, input.checkpointId),
      }),
  };
}
