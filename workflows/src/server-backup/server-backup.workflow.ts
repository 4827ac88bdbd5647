import { proxyActivities } from '@temporalio/workflow';
import { SERVER_BACKUP_STEPS, type ServerBackupInput } from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import { cloudQueue, TRANSFER, UNDO } from '../activity-options';
import { Saga } from '../saga';

/** Backs a server up into a vault: its disks at one moment, and of each only what the backup before did not have. */
export async function serverBackup(input: ServerBackupInput): Promise<void> {
  const { jobId, epoch, projectId } = input;
  // Where servers run, which is the only place that can stand their disks still.
  const cloud = proxyActivities<ImsActivities>({ ...TRANSFER, taskQueue: cloudQueue() });
  const undo = proxyActivities<ImsActivities>(UNDO);
  const saga = new Saga(`Back up server ${input.serverId}`, SERVER_BACKUP_STEPS);
  return saga.run({ jobId, epoch, projectId }, undefined, async () => {
    // With this step the job succeeds.
    await saga.step(
      'checkpoint',
      () => cloud.makeCheckpoint.executeWithOptions({ summary: 'Copy what has changed' }, [input]),
      () => undo.dropCheckpoint.executeWithOptions({ summary: 'Drop the checkpoint' }, [input]),
    );
  });
}
