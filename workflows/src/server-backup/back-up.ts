import {
  CancellationScope,
  ChildWorkflowCancellationType,
  executeChild,
  ParentClosePolicy,
  proxyActivities,
} from '@temporalio/workflow';
import {
  type BackUpInput,
  type BackUpStep,
  type CopiedDisk,
  type DiskBackupInput,
  diskBackupWorkflowId,
  type QuiescedServer,
  type SealedCheckpoint,
} from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import { CLOUD, cloudQueue, UNDO } from '../activity-options';
import type { diskBackup } from '../disk-backup/disk-backup.workflow';
import type { Saga } from '../saga';

/** The steps that back a server up: one moment, its disks side by side, and a checkpoint of all of them. */
export async function backUp<Step extends string>(
  saga: Saga<Step | BackUpStep>,
  input: BackUpInput,
): Promise<SealedCheckpoint> {
  // Where servers run, which is the only place that can stand their disks still.
  const cloud = proxyActivities<ImsActivities>({ ...CLOUD, taskQueue: cloudQueue() });
  const undo = proxyActivities<ImsActivities>({ ...UNDO, taskQueue: cloudQueue() });
  const moment = await saga.step(
    'quiesce',
    () => cloud.quiesceServer.executeWithOptions({ summary: `Freeze the disks of server ${input.serverId}` }, [input]),
    () => undo.dropMoment.executeWithOptions({ summary: 'Let the disks go' }, [input]),
  );
  await saga.step(
    'disks',
    async () => {
      const copied = await copyDisks(input, moment);
      return cloud.joinDisks.executeWithOptions({ summary: `All ${copied.length} disks are copied` }, [
        { ...input, copied },
      ]);
    },
    () => undo.dropDisks.executeWithOptions({ summary: 'Drop the copies of the disks' }, [input]),
  );
  const { backupId } = moment;
  const sealed = await saga.step(
    'seal',
    () => cloud.sealCheckpoint.executeWithOptions({ summary: 'Make the checkpoint available' }, [input]),
    () => undo.unsealCheckpoint.executeWithOptions({ summary: 'Drop the checkpoint' }, [{ ...input, backupId }]),
  );
  await saga.step('release-snapshots', () =>
    // With this step a job succeeds that is only to back the server up. A cancellation that arrives while it commits is too late.
    CancellationScope.nonCancellable(() =>
      cloud.releaseMoment.executeWithOptions({ summary: 'Release the snapshots' }, [input]),
    ),
  );
  return sealed;
}

/** A child per disk. When one does not get to its end, the others are stopped, and awaited: nothing may be copied while copies are dropped. */
async function copyDisks(input: BackUpInput, { disks }: QuiescedServer): Promise<CopiedDisk[]> {
  const { jobId, epoch, projectId, checkpointId } = input;
  const scope = new CancellationScope();
  return scope.run(async () => {
    const running = disks.map(({ volumeId, device }, disk) => {
      const child: DiskBackupInput = { jobId, epoch, projectId, checkpointId, disk, volumeId, device };
      return executeChild<typeof diskBackup>('diskBackup', {
        workflowId: diskBackupWorkflowId(child),
        args: [child],
        staticSummary: `Back up disk ${device}`,
        // Only a parent that was ended by hand leaves children. They are asked to stop, so that each lets go of its copy by itself; what they may
        // still finish counts for nobody, since the job goes on under a new epoch.
        parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
        cancellationType: ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
      });
    });
    try {
      return await Promise.all(running);
    } catch (err) {
      scope.cancel();
      await Promise.allSettled(running);
      throw err;
    }
  });
}
