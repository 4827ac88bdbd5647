import { patched, proxyActivities } from '@temporalio/workflow';
import { SERVER_BACKUP_STEPS, type ServerBackupInput, type ServerBackupStep } from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import { cloudQueue, TRANSFER, UNDO } from '../activity-options';
import { Saga } from '../saga';
import { backUp } from './back-up';

/** Backs a server up into a vault: its disks at one moment, and of each only what the backup before did not have. */
export async function serverBackup(input: ServerBackupInput): Promise<void> {
  const { jobId, epoch, projectId } = input;
  const saga = new Saga<ServerBackupStep>(`Back up server ${input.serverId}`, SERVER_BACKUP_STEPS);
  return saga.run({ jobId, epoch, projectId }, undefined, async () => {
    if (patched('disk-by-disk')) await backUp(saga, { ...input, saga: 'server-backup' });
    else await inOneStep(saga, input);
  });
}

/** As executions under way do it that were begun before disks were copied one by one. */
async function inOneStep(saga: Saga<ServerBackupStep>, input: ServerBackupInput): Promise<void> {
  const cloud = proxyActivities<ImsActivities>({ ...TRANSFER, taskQueue: cloudQueue() });
  const undo = proxyActivities<ImsActivities>(UNDO);
  await saga.step(
    'checkpoint',
    () => cloud.makeCheckpoint.executeWithOptions({ summary: 'Copy what has changed' }, [input]),
    () => undo.dropCheckpoint.executeWithOptions({ summary: 'Drop the checkpoint' }, [input]),
  );
}
