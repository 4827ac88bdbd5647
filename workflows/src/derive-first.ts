import { proxyActivities } from '@temporalio/workflow';
import type { SagaName } from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import type { ActivityInterfaceFor } from '@temporalio/workflow';
import { TRANSFER, transferQueue } from './activity-options';
import type { Saga } from './saga';

/** The first step of a job that uses images which are files: the disks in them are made readable, once for all jobs. Without such images none. */
export async function deriveFirst<Step extends string>(
  saga: Saga<Step | 'derive-disk'>,
  undo: ActivityInterfaceFor<ImsActivities>,
  { imageIds, ...job }: { jobId: string; epoch: number; saga: SagaName; imageIds: string[] | undefined },
): Promise<void> {
  if (imageIds === undefined) return;
  const transfer = proxyActivities<ImsActivities>({ ...TRANSFER, taskQueue: transferQueue() });
  await saga.step(
    'derive-disk',
    () =>
      transfer.deriveDisk.executeWithOptions({ summary: 'Make the disk in the file readable' }, [{ ...job, imageIds }]),
    () => undo.discardDerivation.executeWithOptions({ summary: 'Drop what was stored' }, [job]),
  );
}
