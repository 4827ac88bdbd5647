import {
  type AcquiredSource,
  imageId as toImageId,
  type ImageJob,
  imageSagaOf,
  type Meter,
  type ImageDigestInput,
  imageDigestWorkflowId,
  type IngestedDisk,
  isKeptFile,
  type MeteredImage,
  meteredImage,
  usageStream,
} from '@ims/contract';
import type { Database } from '@ims/db';
import { findEvent } from '@ims/event-log';
import type { Transaction } from 'kysely';
import type { ActivityPorts } from '../step/ports';
import { taskGivenBack } from '../catalog/catalog.activities';
import { forgetStaged } from '../step/forget-staged';
import { jobSucceeded } from '../step/job-events';
import { runStep, runUndo } from '../step/run-step';

export interface MeterInput extends ImageJob {
  disk: IngestedDisk;
  /** As in `PublishInput`. */
  acquired?: AcquiredSource;
  /** Bytes of the backup that the image was made from; it is charged by these, not by its own (BIL-03). */
  backupBytes?: number;
}

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'controlQueue' | 'staged'>;

/** What is charged: an image of a whole server as storage of its backup (BIL-03), every other one as what its segments take up. */
const meterOf = ({ source, meter }: ImageJob): Meter =>
  meter ?? (source?.kind === 'backup' ? 'backup.storage' : 'image.storage');

/** The record's id follows from the image, so it cannot be opened twice. */
const usageIdOf = (input: ImageJob): string => `${meterOf(input).replace('.', '-')}:${input.imageId}`;

export function createBillingActivities(ports: Ports) {
  return {
    /** The last step: with the usage record the job succeeds, and the digests of the file are ordered, all in one transaction. */
    openUsage: async (input: MeterInput): Promise<MeteredImage> => {
      const metered = await runStep(ports, {
        name: 'meter',
        saga: imageSagaOf(input),
        input,
        parse: (output) => meteredImage.parse(output),
        effect: () =>
          Promise.resolve({ usageId: usageIdOf(input), storedBytes: input.backupBytes ?? input.disk.storedBytes }),
        companions: async (trx, output) => {
          await orderDigests(trx, ports.controlQueue, input);
          return [
            {
              stream: usageStream(toImageId(input.imageId)),
              key: 'opened',
              type: 'usage.opened',
              data: {
                usageId: output.usageId,
                imageId: input.imageId,
                meter: meterOf(input),
                quantityBytes: output.storedBytes,
              },
            },
            ...taskGivenBack(input),
            jobSucceeded(input.jobId, input.imageId),
          ];
        },
      });
      await forgetStaged(ports, input.source);
      return metered;
    },
    voidUsage: (input: ImageJob): Promise<void> =>
      runUndo(ports, {
        name: 'meter',
        saga: imageSagaOf(input),
        input,
        effect: () => Promise.resolve(),
        companions: async (trx) => {
          if (!(await findEvent(trx, usageStream(toImageId(input.imageId)), 'opened'))) return [];
          return [
            {
              stream: usageStream(toImageId(input.imageId)),
              key: 'voided',
              type: 'usage.voided',
              data: { usageId: usageIdOf(input) },
            },
          ];
        },
      }),
  };
}

/** Digests of a file that was sent to this service are known and published with it. */
async function orderDigests(trx: Transaction<Database>, queue: string, input: MeterInput): Promise<void> {
  const { acquired } = input;
  const isFile = acquired !== undefined && isKeptFile(acquired);
  if (isFile && acquired.digests !== undefined) return;
  const digest: ImageDigestInput = {
    imageId: input.imageId,
    projectId: input.projectId,
    domainId: input.disk.domainId,
    manifestHash: input.disk.manifestHash,
    ...(isFile ? { form: 'file' } : {}),
  };
  await trx
    .insertInto('outbox')
    .values({
      workflow_type: 'imageDigest',
      workflow_id: imageDigestWorkflowId(toImageId(input.imageId)),
      task_queue: queue,
      input: JSON.stringify(digest),
      summary: `Digest ${input.imageName}`,
    })
    .execute();
}
