import {
  type CheckedImages,
  checkedImages,
  ImsError,
  type ReleasedImages,
  releasedImages,
  type UsedDisk,
  type UsedImage,
} from '@ims/contract';
import { type Database, ImagesRepository, inTransaction } from '@ims/db';
import { checkNotRevoked } from '@ims/domain';
import type { NewEvent } from '@ims/event-log';
import { findUsableImage, ManifestHolds } from '@ims/neighbours';
import type { Transaction } from 'kysely';
import { jobSucceeded } from '../step/job-events';
import type { ActivityPorts } from '../step/ports';
import { runStep, runUndo } from '../step/run-step';
import { startJob } from '../step/start-job';
import { asking, type SharedStepInput } from './cloud-job';

export interface ImageUseInput extends SharedStepInput {
  images: readonly UsedImage[];
  /** The image that the job makes of them, if it makes one. */
  imageId?: string;
}

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker'>;

const holds = new ManifestHolds();

/** Images that a job makes disks from: still there, and kept until those disks keep them (MGT-05). */
export function createImageUseActivities(ports: Ports) {
  return {
    /**
     * Looks once more whether the images may be used (time has passed since the call was accepted) and holds their bytes for the job, so that a
     * deletion and a collection in the middle of it pull nothing away.
     */
    checkImages: (input: ImageUseInput): Promise<CheckedImages> =>
      runStep(ports, {
        name: 'check-image',
        saga: input.saga,
        input,
        parse: (output) => checkedImages.parse(output),
        effect: async () => {
          const { jobId, epoch, imageId } = input;
          await startJob(ports, 'check-image', { jobId, epoch, ...(imageId === undefined ? {} : { imageId }) });
          const disks = await asking('disk', () => inTransaction(ports.db, (trx) => holdImages(trx, input)));
          return { disks };
        },
      }),

    dropImageHolds: (input: SharedStepInput): Promise<void> =>
      runUndo(ports, {
        name: 'check-image',
        saga: input.saga,
        input,
        effect: () => inTransaction(ports.db, (trx) => holds.release(trx, input.jobId)),
      }),

    /** The last step: every disk that was made holds its image itself, and with that the job has succeeded. */
    releaseImages: (input: ImageUseInput): Promise<ReleasedImages> =>
      runStep(ports, {
        name: 'release-image',
        saga: input.saga,
        input,
        parse: (output) => releasedImages.parse(output),
        effect: () => Promise.resolve({ imageIds: input.images.map(({ imageId }) => imageId) }),
        companions: (trx) => succeeded(trx, input.jobId),
      }),
  };
}

/** What becomes true with the last step of a job that used images. */
export async function succeeded(
  trx: Transaction<Database>,
  jobId: string,
  imageId: string | null = null,
): Promise<NewEvent[]> {
  await holds.release(trx, jobId);
  return [jobSucceeded(jobId, imageId)];
}

async function holdImages(
  trx: Transaction<Database>,
  { jobId, projectId, images, saga }: ImageUseInput,
): Promise<UsedDisk[]> {
  const held: UsedDisk[] = [];
  // An image that is used for servers and disks is missed in their service's words, any other one in those of images.
  const code = saga === 'image-export' || saga === 'image-copy' ? 'IMG.0046' : 'Ecs.0000';
  // One order for all jobs, so that two that use the same images cannot wait for each other.
  for (const { imageId, parts } of [...images].sort((a, b) => (a.imageId < b.imageId ? -1 : 1))) {
    // The row's lock settles who comes first: this job or a deletion.
    const row = await new ImagesRepository(trx).findSeenForUpdate(projectId, imageId);
    const found = row === undefined ? undefined : await findUsableImage(trx, projectId, imageId);
    if (found?.image.isActive !== true) throw new ImsError(code, `there is no active image ${imageId} any more`);
    // Revoked since the call was accepted. What is exported or copied makes nothing that runs, and a copy inherits it.
    if (code === 'Ecs.0000') checkNotRevoked(found.image, code);
    for (const part of parts) {
      const disk = found.disks.find((each) => each.part === part);
      if (disk === undefined) throw new ImsError(code, `image ${imageId} has no disk ${part}`);
      await holds.hold(trx, jobId, { imageId, domainId: disk.domainId, manifestHash: disk.manifestHash });
      held.push({ imageId, ...disk });
    }
  }
  return held;
}

/** The held disk that an origin means. */
export function diskOf(disks: readonly UsedDisk[], imageId: string, part: string): UsedDisk {
  const found = disks.find((disk) => disk.imageId === imageId && disk.part === part);
  // What is planned and what is held come from one list; a difference is a defect of the saga.
  if (found === undefined) throw new TypeError(`the job holds no disk ${part} of image ${imageId}`);
  return found;
}
