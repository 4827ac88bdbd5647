import { proxyActivities, setCurrentDetails } from '@temporalio/workflow';
import type { CopiedDisk, DiskBackupInput } from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import { cloudQueue, TRANSFER } from '../activity-options';

/**
 * Copies one disk of a server that is being backed up: a child of the job's workflow, so that the disks of a server go side by side and each can be
 * seen, and ended, for itself. It undoes nothing; what it has made is dropped by its parent together with that of the others.
 */
export async function diskBackup(input: DiskBackupInput): Promise<CopiedDisk> {
  const cloud = proxyActivities<ImsActivities>({ ...TRANSFER, taskQueue: cloudQueue() });
  setCurrentDetails(`**Back up disk ${input.device}** (volume ${input.volumeId})`);
  return cloud.copyDisk.executeWithOptions({ summary: `Copy what has changed of ${input.device}` }, [input]);
}
