import {
  dedupDomainId as toDomain,
  type ErrorCode,
  type EventData,
  type IdentifiedOs,
  type ImageAttributes,
  imageCreateInput,
  type ImageCreateInput,
  imageId as toImageId,
  imageStream,
  type IngestedDisk,
  jobId as toJobId,
  jobStream,
  projectId as toProject,
  type PublishedImage,
  publishedImage,
  quotaStream,
  type StepInput,
  TERMINAL_KEY,
} from '@ims/contract';
import { type Database, inTransaction } from '@ims/db';
import { appendEvents, findEvent, type NewEvent } from '@ims/event-log';
import { storedDisksOf } from '../storage/stored-disks';
import type { ActivityPorts } from '../step/ports';
import { eventContext, lockJob, runStep, runUndo } from '../step/run-step';
import { toFailure } from '../step/failure';
import { activityInfo } from '@temporalio/activity';
import type { Transaction } from 'kysely';

export interface PublishInput extends ImageCreateInput {
  disk: IngestedDisk;
  os: IdentifiedOs;
}
export interface WithdrawInput extends ImageCreateInput {
  disk: IngestedDisk;
}
export interface ConcludeInput extends StepInput {
  projectId: string;
  /** The image that the job was to make; absent where it makes none. */
  imageId?: string;
  step: string | null;
  cancelled: boolean;
  errorCode: ErrorCode;
  reason: string;
}

/** How the job ended; it may have ended before, when only the report of its last step was lost. */
export interface ConcludedJob {
  outcome: 'succeeded' | 'failed' | 'cancelled';
}

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'store'>;

/** Keys of the quota events of one image and one job; a reservation ends exactly once, whoever ends it. */
const RELEASE = 'release';

export function createCatalogActivities(ports: Ports) {
  return {
    /** The pointer swap: holds become references and the image active, in one transaction. */
    publishImage: (input: PublishInput): Promise<PublishedImage> =>
      runStep(ports, {
        name: 'publish',
        saga: 'image-create',
        input,
        parse: (output) => publishedImage.parse(output),
        effect: () => Promise.resolve({ imageId: input.imageId, contentRoot: input.disk.contentRoot }),
        companions: async (trx) => {
          for (const { part, domainId, manifestHash } of storedDisksOf(input.disk)) {
            await ports.store.publish(trx, {
              jobId: toJobId(input.jobId),
              imageId: toImageId(input.imageId),
              part,
              domainId: toDomain(domainId),
              manifestHash,
            });
          }
          return [
            {
              stream: imageStream(toImageId(input.imageId)),
              key: 'published',
              type: 'image.published',
              data: {
                domainId: input.disk.domainId,
                manifestHash: input.disk.manifestHash,
                contentRoot: input.disk.contentRoot,
                virtualSizeBytes: input.disk.virtualSizeBytes,
                storedBytes: input.disk.storedBytes,
                fileBytes: input.disk.fileBytes,
                attributes: foundAttributes(input),
                ...dataDisksOf(input.disk),
              },
            },
            {
              stream: quotaStream(toProject(input.projectId), 'image'),
              key: `settle:${input.imageId}`,
              type: 'quota.settled',
              data: { resource: 'image', amount: 1, holder: input.imageId },
            },
          ];
        },
      }),
    withdrawImage: (input: WithdrawInput): Promise<void> =>
      runUndo(ports, {
        name: 'publish',
        saga: 'image-create',
        input,
        effect: () => Promise.resolve(),
        companions: async (trx) => {
          if (!(await findEvent(trx, jobStream(toJobId(input.jobId)), 'step:publish'))) return [];
          for (const { domainId, manifestHash } of storedDisksOf(input.disk)) {
            await ports.store.release(trx, {
              imageId: toImageId(input.imageId),
              domainId: toDomain(domainId),
              manifestHash,
            });
          }
          return [withdrawn(input.imageId), release(input.projectId, 'image', input.imageId, 'used')];
        },
      }),

    /** The last act of a job that did not succeed: what acceptance reserved is given back and the job ends, once. */
    concludeJob: async (input: ConcludeInput): Promise<ConcludedJob> => {
      try {
        return await inTransaction(ports.db, async (trx) => {
          const job = await lockJob(trx, input);
          if (job.outcome !== null) return { outcome: job.outcome };
          const events = input.imageId === undefined ? [] : await imageGivenUp(trx, input, input.imageId);
          const stream = jobStream(toJobId(input.jobId));
          // Cancellation is a fact of the job: whatever kept its step from hearing of it, an outage or a dead worker, does not make it a
          // failure. A documented refusal of the source stays one.
          const cancelReason = input.cancelled
            ? (job.cancel_reason ?? input.reason)
            : input.errorCode === 'IMG.0061'
              ? job.cancel_reason
              : null;
          events.push(
            cancelReason !== null
              ? { stream, key: TERMINAL_KEY, type: 'job.cancelled', data: { reason: cancelReason } }
              : {
                  stream,
                  key: TERMINAL_KEY,
                  type: 'job.failed',
                  data: { errorCode: input.errorCode, reason: input.reason, step: input.step },
                },
          );
          await appendEvents(trx, eventContext(job.project_id, { name: 'conclude', input }), events);
          return { outcome: cancelReason === null ? 'failed' : 'cancelled' };
        });
      } catch (err) {
        throw toFailure(err, activityInfo().attempt);
      }
    },
  };
}

/** The further disks of a whole server, as the event has them. */
function dataDisksOf({ dataDisks }: IngestedDisk): Pick<EventData<'image.published'>, 'dataDisks'> {
  if (dataDisks === undefined) return {};
  return {
    dataDisks: dataDisks.map(({ device, domainId, manifestHash, contentRoot, virtualSizeBytes, storedBytes }) => ({
      device,
      domainId,
      manifestHash,
      contentRoot,
      virtualSizeBytes,
      storedBytes,
    })),
  };
}

/** What acceptance reserved for the image and its making, given back, unless an undo has done so. */
async function imageGivenUp(trx: Transaction<Database>, input: ConcludeInput, image: string): Promise<NewEvent[]> {
  const isWithdrawn = (await findEvent(trx, imageStream(toImageId(image)), 'withdrawn')) !== undefined;
  return [
    ...(isWithdrawn ? [] : [withdrawn(image), release(input.projectId, 'image', image, 'reserved')]),
    release(input.projectId, 'create_task', input.jobId, 'reserved'),
  ];
}

const withdrawn = (image: string): NewEvent => ({
  stream: imageStream(toImageId(image)),
  key: 'withdrawn',
  type: 'image.withdrawn',
  data: { reason: 'the job that made it did not complete' },
});

const release = (
  project: string,
  resource: 'image' | 'create_task',
  holder: string,
  from: 'reserved' | 'used',
): NewEvent => ({
  stream: quotaStream(toProject(project), resource),
  key: `${RELEASE}:${holder}`,
  type: 'quota.released',
  data: { resource, amount: 1, holder, from },
});

/** A data disk keeps what its maker said of it (IMG-10): whatever lies on it, no server starts from it. */
function foundAttributes(input: PublishInput): ImageAttributes {
  // A workflow hands on its input as it was recorded, perhaps before there was a kind.
  const { kind } = imageCreateInput.parse(input);
  return kind === 'data' ? {} : attributesOf(input.os);
}

/** What the finding means for the image's attributes (ims-api 2.2). */
function attributesOf(os: IdentifiedOs): ImageAttributes {
  return {
    __os_type: os.osType,
    __os_version: os.osVersion,
    __platform: os.platform,
    __os_bit: os.osBit,
    hw_firmware_type: os.firmware,
    ...(os.architecture === 'arm' ? { __support_arm: 'true' } : {}),
  };
}
