import { CancellationScope, proxyActivities } from '@temporalio/workflow';
import { type ImageCreateInput, type ImageCreateOutput, stepsOfImage } from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import { CLOUD, cloudQueue, fetchQueue, QUICK, TRANSFER, transferQueue, UNDO } from '../activity-options';
import { Saga } from '../saga';
import { sourceOf } from './image-source';

/** Makes a private image out of a source: acquire, ingest, verify, identify, publish, meter (design 3). */
export async function imageCreate(input: ImageCreateInput): Promise<ImageCreateOutput> {
  const job = { jobId: input.jobId, epoch: input.epoch };
  const quick = proxyActivities<ImsActivities>(QUICK);
  const transfer = proxyActivities<ImsActivities>({ ...TRANSFER, taskQueue: transferQueue() });
  const undo = proxyActivities<ImsActivities>(UNDO);
  const saga = new Saga(`Create image ${input.imageName}`, stepsOfImage(input));
  const source = sourceOf(input, saga, {
    quick,
    undo,
    fetch: proxyActivities<ImsActivities>({ ...TRANSFER, taskQueue: fetchQueue() }),
    cloud: proxyActivities<ImsActivities>({ ...QUICK, taskQueue: cloudQueue() }),
    undoInCloud: proxyActivities<ImsActivities>({ ...UNDO, taskQueue: cloudQueue() }),
  });

  return saga.run(input, { imageId: input.imageId }, async () => {
    const acquired = await source.acquire();
    const disk = await saga.step(
      'ingest',
      () =>
        transfer.ingestDisk.executeWithOptions(
          { summary: `Store ${sizeOf(acquired.virtualSizeBytes)} of ${source.nameOf(acquired)}` },
          [{ ...job, projectId: input.projectId, cmkId: input.cmkId, inspected: acquired }],
        ),
      () => undo.discardIngest.executeWithOptions({ summary: 'Drop what was stored' }, [job]),
    );
    await saga.step('verify', () =>
      transfer.verifyDisk.executeWithOptions({ summary: `Read back ${sizeOf(disk.storedBytes)}` }, [
        { ...job, disk, ...(input.sha256 === undefined ? {} : { sha256: input.sha256 }) },
      ]),
    );
    await source.release();
    const os = await source.identify(disk);
    const { bootCheck } = input;
    if (bootCheck !== undefined) {
      const machines = proxyActivities<ImsActivities>({ ...CLOUD, taskQueue: cloudQueue() });
      await saga.step('boot-check', () =>
        machines.bootCheckImage.executeWithOptions({ summary: 'Watch the serial console' }, [
          {
            ...job,
            disk,
            expect: bootCheck.expect,
            architecture: input.architecture,
            firmware: os?.firmware ?? 'bios',
          },
        ]),
      );
    }
    await saga.step(
      'publish',
      () =>
        quick.publishImage.executeWithOptions({ summary: 'Make the image active' }, [{ ...input, disk, os, acquired }]),
      () => undo.withdrawImage.executeWithOptions({ summary: 'Withdraw the image' }, [{ ...input, disk }]),
    );
    await saga.step(
      'meter',
      // With this step the job succeeds. A cancellation that arrives while it commits is too late, not half a success.
      () =>
        CancellationScope.nonCancellable(() =>
          quick.openUsage.executeWithOptions({ summary: 'Open the usage record' }, [
            { ...input, disk, acquired, ...source.charge?.(acquired) },
          ]),
        ),
      () => undo.voidUsage.executeWithOptions({ summary: 'Void the usage record' }, [input]),
    );
    return { imageId: input.imageId };
  });
}

function sizeOf(bytes: number): string {
  const gib = bytes / 2 ** 30;
  return gib >= 1 ? `${gib.toFixed(1)} GiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
