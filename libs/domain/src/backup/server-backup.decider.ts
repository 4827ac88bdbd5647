import { checkpointJobId, SERVER_BACKUP_STEPS, type ServerBackupInput } from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { jobAccepted } from '../job/job-accepted';

export interface BackUpServerCommand {
  projectId: string;
  /** A fresh UUID; the job bears it too. */
  checkpointId: string;
  vaultId: string;
  serverId: string;
  /** Of the backup. */
  name: string;
}

// Backups are another service's in the contract, which has no name for a job of ours that makes one; it is named like the others.
const JOB_TYPE = 'imsBackUpServerJob';

/**
 * Accepts the backup of a server, which the caller has looked at: the events and the input of the job that makes it. It costs no quota of images;
 * what it takes, the vault has or has not.
 */
export function decideBackUpServer(command: BackUpServerCommand): {
  events: DomainEvent[];
  input: ServerBackupInput;
} {
  const { checkpointId, vaultId, serverId, name } = command;
  const jobId = checkpointJobId(checkpointId);
  return {
    events: [
      jobAccepted(jobId, {
        jobType: JOB_TYPE,
        saga: 'server-backup',
        imageId: null,
        imageName: name,
        request: { vault_id: vaultId, server_id: serverId, name },
        steps: [...SERVER_BACKUP_STEPS],
      }),
    ],
    input: { jobId, epoch: 1, ...command },
  };
}
