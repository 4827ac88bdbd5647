import { CancellationScope, proxyActivities } from '@temporalio/workflow';
import { STORE_COLLECT_STEPS, type StoreCollectInput } from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import { TRANSFER } from '../activity-options';
import { Saga } from '../saga';

/**
 * One pass over the image store: what nobody needs goes, then disk and rows are compared. On the control queue, because the few turns of the
 * transfer queue are for tenants. Nothing to undo: what was removed had no owner.
 */
export async function storeCollect(input: StoreCollectInput): Promise<void> {
  const long = proxyActivities<ImsActivities>(TRANSFER);
  const saga = new Saga('Collect the image store', STORE_COLLECT_STEPS);
  return saga.run(input, undefined, async () => {
    await saga.step('collect', () =>
      long.collectStore.executeWithOptions({ summary: 'Remove what nobody needs' }, [input]),
    );
    await saga.step('audit', () =>
      // With this step the job succeeds, so it is too late to cancel it.
      CancellationScope.nonCancellable(() =>
        long.auditStore.executeWithOptions({ summary: 'Compare objects and rows' }, [input]),
      ),
    );
  });
}
