import {
  type AuditedStore,
  auditedStore,
  type CollectedStore,
  collectedStore,
  MOST_NAMED_OBJECTS,
  type StoreCollectInput,
} from '@ims/contract';
import { CollectorBusyError } from '@ims/image-store';
import { log } from '@temporalio/activity';
import { failure } from '../step/failure';
import { jobSucceeded } from '../step/job-events';
import type { ActivityPorts } from '../step/ports';
import { runStep } from '../step/run-step';
import { startJob } from '../step/start-job';

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'store'>;

export function createCollectionActivities(ports: Ports) {
  return {
    /** Removes what nobody needs. A pass that died half way is taken up by the next attempt, which finds less to do. */
    collectStore: (input: StoreCollectInput): Promise<CollectedStore> =>
      runStep(ports, {
        name: 'collect',
        saga: 'store-collect',
        input,
        parse: (output) => collectedStore.parse(output),
        effect: async (run) => {
          await startJob(ports, 'collect', { jobId: input.jobId, epoch: input.epoch });
          try {
            return await ports.store.collect({
              signal: run.signal,
              onProgress: (part, { segmentsRemoved, packsRemoved, bytesRemoved }) => {
                run.note({ part, segmentsRemoved, packsRemoved, bytesRemoved });
                run.report({
                  step: 'collect',
                  text: `${part}: ${segmentsRemoved} segments, ${packsRemoved} packs gone`,
                });
              },
            });
          } catch (err) {
            // A late attempt of a worker taken for dead: it comes to its end, and this one's turn with it.
            if (err instanceof CollectorBusyError)
              throw failure('IMG.0061', err.message, { cause: err, retryable: true });
            throw err;
          }
        },
      }),

    /** Compares what lies in the store with the rows that explain it (fault-matrix I4). Only tells; what is wrong is for a person to judge. */
    auditStore: (input: StoreCollectInput): Promise<AuditedStore> =>
      runStep(ports, {
        name: 'audit',
        saga: 'store-collect',
        input,
        parse: (output) => auditedStore.parse(output),
        effect: async () => {
          const { unknownObjects, missingObjects } = await ports.store.audit();
          const found = { unknownObjectCount: unknownObjects.length, missingObjectCount: missingObjects.length };
          if (unknownObjects.length + missingObjects.length > 0) log.error('store and rows disagree', found);
          return {
            ...found,
            unknownObjects: unknownObjects.slice(0, MOST_NAMED_OBJECTS),
            missingObjects: missingObjects.slice(0, MOST_NAMED_OBJECTS),
          };
        },
        companions: () => [jobSucceeded(input.jobId, null)],
      }),
  };
}
