import { CancellationScope, proxyActivities } from '@temporalio/workflow';
import { STORE_COLLECT_STEPS, type StoreCollectInput } from '@ims/contract';
import type { ImsActivities } from '@ims/activities';
import { TRANSFER, UNDO } from '../activity-options';
import { refusalOf } from '../failure';
import { Saga } from '../saga';

/**
 * One pass over the image store: what nobody needs goes, then disk and rows are compared. On the control queue, because the few turns of the
 * transfer queue are for tenants. Nothing to undo: what was removed had no owner.
 */
export async function storeCollect(input: StoreCollectInput): Promise<void> {
  const long = proxyActivities<ImsActivities>(TRANSFER);
  const undo = proxyActivities<ImsActivities>(UNDO);
  const saga = new Saga('Collect the image store', STORE_COLLECT_STEPS);
  try {
    await saga.step('collect', () =>
      long.collectStore.executeWithOptions({ summary: 'Remove what nobody needs' }, [input]),
    );
    await saga.step('audit', () =>
      // With this step the job succeeds, so it is too late to cancel it.
      CancellationScope.nonCancellable(() =>
        long.auditStore.executeWithOptions({ summary: 'Compare objects and rows' }, [input]),
      ),
    );
    saga.done();
  } catch (err) {
    const step = saga.currentStep;
    const refusal = refusalOf(err, CancellationScope.current().consideredCancelled);
    const { outcome } = await saga.unwind(() =>
      undo.concludeJob.executeWithOptions({ summary: 'Close the job' }, [{ ...input, step, ...refusal }]),
    );
    // Only the report of the last step was lost: what is recorded counts.
    if (outcome !== 'succeeded') throw err;
  }
}
