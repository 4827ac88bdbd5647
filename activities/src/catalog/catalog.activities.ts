import {
  type AcquiredSource,
  dedupDomainId as toDomain,
  type ErrorCode,
  type DerivedDisk,
  type EventData,
  type IdentifiedOs,
  type ImageAttributes,
  type ImageJob,
  type ImageSaga,
  imageSagaOf,
  type ImageSource,
  imageId as toImageId,
  imageKeyOf,
  imageStream,
  type IngestedDisk,
  type InspectedSource,
  isKeptFile,
  jobId as toJobId,
  jobStream,
  projectId as toProject,
  type PublishedImage,
  publishedImage,
  quotaStream,
  type StepInput,
  TERMINAL_KEY,
} from '@ims/contract';
import { type Database, ImagesRepository, inTransaction } from '@ims/db';
import { appendEvents, findEvent, type NewEvent } from '@ims/event-log';
import { storedDisksOf } from '../storage/stored-disks';
import type { ActivityPorts } from '../step/ports';
import { eventContext, lockJob, runStep, runUndo } from '../step/run-step';
import { forgetStaged } from '../step/forget-staged';
import { toFailure } from '../step/failure';
import { systemOfData } from './system-of-data';
import { activityInfo } from '@temporalio/activity';
import type { Transaction } from 'kysely';

export interface PublishInput extends ImageJob {
  disk: IngestedDisk;
  /** Null where nobody looks: a kept file is what its maker says. */
  os: IdentifiedOs | null;
  /** Executions recorded before images could be files lack it: theirs are disks. */
  acquired?: AcquiredSource;
}
export interface WithdrawInput extends ImageJob {
  disk: IngestedDisk;
}
export interface ConcludeInput extends StepInput {
  /** As in `ImageJob`. */
  saga?: ImageSaga;
  projectId: string;
  /** The image that the job was to make; absent where it makes none. */
  imageId?: string;
  /** The image was there before the job and outlives it. */
  existing?: boolean;
  source?: ImageSource;
  step: string | null;
  cancelled: boolean;
  errorCode: ErrorCode;
  reason: string;
  /** Steps that could not be undone, if any. */
  leftBehind?: string[];
}

/** How the job ended; it may have ended before, when only the report of its last step was lost. */
export interface ConcludedJob {
  outcome: 'succeeded' | 'failed' | 'cancelled';
}

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'staged' | 'store'>;

/** Keys of the quota events of one image and one job; a reservation ends exactly once, whoever ends it. */
const RELEASE = 'release';

export function createCatalogActivities(ports: Ports) {
  return {
    /** The pointer swap: holds become references and the image active, in one transaction. */
    publishImage: async (input: PublishInput): Promise<PublishedImage> => {
      const system = await systemOfData(ports.db, input);
      return runStep(ports, {
        name: 'publish',
        saga: imageSagaOf(input),
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
            ...publishedAs(input, system),
            {
              stream: quotaStream(toProject(input.projectId), 'image'),
              key: imageKeyOf(`settle:${input.imageId}`, input),
              type: 'quota.settled',
              data: { resource: 'image', amount: 1, holder: input.imageId },
            },
          ];
        },
      });
    },
    withdrawImage: (input: WithdrawInput): Promise<void> =>
      runUndo(ports, {
        name: 'publish',
        saga: imageSagaOf(input),
        input,
        effect: () => Promise.resolve(),
        companions: async (trx) => {
          if (!(await findEvent(trx, jobStream(toJobId(input.jobId)), 'step:publish'))) return [];
          // Under the image's lock, by which whoever derives its disk commits: a disk derived since it was published goes along.
          const images = new ImagesRepository(trx);
          const image = await images.findForUpdate(input.projectId, input.imageId);
          for (const manifest of image === undefined ? [] : await images.manifests(image))
            await ports.store.release(trx, { imageId: toImageId(input.imageId), ...manifest });
          return input.existing === true
            ? requeuedAgain(input)
            : [withdrawn(input.imageId), release(input.projectId, 'image', input.imageId, 'used')];
        },
      }),

    /** The last act of a job that did not succeed: what acceptance reserved is given back and the job ends, once. */
    concludeJob: async (input: ConcludeInput): Promise<ConcludedJob> => {
      try {
        const ended = await inTransaction(ports.db, async (trx): Promise<ConcludedJob> => {
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
          const leftBehind = input.leftBehind === undefined ? {} : { leftBehind: input.leftBehind };
          events.push(
            cancelReason !== null
              ? { stream, key: TERMINAL_KEY, type: 'job.cancelled', data: { reason: cancelReason, ...leftBehind } }
              : {
                  stream,
                  key: TERMINAL_KEY,
                  type: 'job.failed',
                  data: { errorCode: errorCodeOf(input), reason: input.reason, step: input.step, ...leftBehind },
                },
          );
          await appendEvents(trx, eventContext(job.project_id, { name: 'conclude', input }), events);
          return { outcome: cancelReason === null ? 'failed' : 'cancelled' };
        });
        await forgetStaged(ports, input.source);
        return ended;
      } catch (err) {
        throw toFailure(err, activityInfo().attempt);
      }
    },
  };
}

/** A stored disk as events have it. */
const storedAs = ({
  domainId,
  manifestHash,
  contentRoot,
  virtualSizeBytes,
  storedBytes,
}: DerivedDisk): EventData<'image.disk-derived'> => ({
  domainId,
  manifestHash,
  contentRoot,
  virtualSizeBytes,
  storedBytes,
});

/** The further disks of a whole server, as the event has them. */
function dataDisksOf({ dataDisks }: IngestedDisk): Pick<EventData<'image.published'>, 'dataDisks'> {
  if (dataDisks === undefined) return {};
  return {
    dataDisks: dataDisks.map(({ device, ...disk }) => ({ device, ...storedAs(disk) })),
  };
}

/** What acceptance reserved for the image and its making, given back, unless an undo has done so. */
async function imageGivenUp(trx: Transaction<Database>, input: ConcludeInput, image: string): Promise<NewEvent[]> {
  const stream = imageStream(toImageId(image));
  const given = (key: string) => findEvent(trx, stream, key);
  const events: NewEvent[] = taskGivenBack(input);
  if (input.existing === true) {
    if ((await given(imageKeyOf('requeued', input))) === undefined) events.unshift(requeued(image, input));
  } else if ((await given('withdrawn')) === undefined) {
    events.unshift(withdrawn(image), release(input.projectId, 'image', image, 'reserved'));
  }
  return events;
}

/** CRE-24 counts the making of images from what is none; copies and replicas have limits of their own. */
export const taskGivenBack = (job: { saga?: ImageSaga; projectId: string; jobId: string }): NewEvent[] =>
  imageSagaOf(job) === 'image-create' ? [release(job.projectId, 'create_task', job.jobId, 'reserved')] : [];

/** ims-api 6.6: a registration that failed for no better reason says so. */
function errorCodeOf({ errorCode, existing, source }: ConcludeInput): ErrorCode {
  return errorCode === 'IMG.0061' &&
    existing === true &&
    (source?.kind === 'bucket-file' || source?.kind === 'iso-file')
    ? 'IMG.1075'
    : errorCode;
}

/** What publishing makes true of the image and its content. */
function publishedAs(input: PublishInput, system: ImageAttributes): NewEvent[] {
  const { acquired, disk } = input;
  const stream = imageStream(toImageId(input.imageId));
  const content = storedAs(disk);
  const published = imageKeyOf('published', input);
  const attributes = { ...foundAttributes(input), ...originOf(input), ...system };
  if (acquired === undefined || !isKeptFile(acquired)) {
    // `disk_format` names the bytes that a download serves (ims-api 2.2), whatever a registered file was declared to be.
    const diskFormat = input.existing === true ? { diskFormat: 'zvhd2' } : {};
    const data = { ...content, fileBytes: disk.fileBytes, attributes, ...diskFormat, ...dataDisksOf(disk) };
    return [{ stream, key: published, type: 'image.published', data }];
  }
  // The stored bytes are the file; the disk is in it.
  const { virtualSizeBytes } = acquired;
  const fileBytes = disk.virtualSizeBytes;
  const data = { ...content, virtualSizeBytes, fileBytes, form: 'file' as const, attributes };
  const events: NewEvent[] = [{ stream, key: published, type: 'image.published', data }];
  if (acquired.digests !== undefined) {
    const digested = { ...acquired.digests, sizeBytes: fileBytes };
    events.push({ stream, key: imageKeyOf('digested', input), type: 'image.digested', data: digested });
  }
  // A raw file and an installation medium are their own disks, once somebody has looked into them; nothing is stored twice.
  if (isDiskItself(acquired))
    events.push({ stream, key: imageKeyOf('disk-derived', input), type: 'image.disk-derived', data: content });
  return events;
}

const isDiskItself = ({ format, isUnseen }: InspectedSource): boolean =>
  isUnseen === undefined && (format === 'raw' || format === 'iso');

/** Where the bytes of an image came from that was made without any (ims-api 2.3). */
function originOf({ existing, source, acquired }: PublishInput): ImageAttributes {
  // A backup that the job has made itself was not there when the image was queued.
  if (source?.kind === 'whole-server' && acquired !== undefined && 'backupId' in acquired)
    return { __backup_id: acquired.backupId };
  if (existing !== true || (source?.kind !== 'bucket-file' && source?.kind !== 'iso-file')) return {};
  return { __data_origin: `file,${source.file.bucket}:${source.file.key}` };
}

const requeued = (
  image: string,
  job: { jobId: string; existing?: boolean; diskFormat?: string | undefined },
): NewEvent => ({
  stream: imageStream(toImageId(image)),
  key: imageKeyOf('requeued', job),
  type: 'image.requeued',
  data: {
    reason: 'the job that was to bring its bytes did not complete',
    ...(job.diskFormat === undefined ? {} : { diskFormat: job.diskFormat }),
  },
});

/** The image had its bytes already: it waits for others, and its use of the quota is a reservation again. */
function requeuedAgain(input: WithdrawInput): NewEvent[] {
  const stream = quotaStream(toProject(input.projectId), 'image');
  const held = { resource: 'image', amount: 1, holder: input.imageId };
  return [
    requeued(input.imageId, input),
    {
      stream,
      key: imageKeyOf(`unsettle:${input.imageId}`, input),
      type: 'quota.released',
      data: { ...held, from: 'used' },
    },
    { stream, key: imageKeyOf(`reserve:${input.imageId}`, input), type: 'quota.reserved', data: held },
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
  return input.kind === 'data' || input.os === null ? {} : attributesOf(input.os);
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
