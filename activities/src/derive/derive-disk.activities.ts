import {
  type DedupDomainId,
  dedupDomainId as toDomain,
  type DerivedDisk,
  type DerivedDisks,
  derivedDisks,
  DISK_FORMATS,
  DISK_PART,
  type DiskFormat,
  imageId as toImageId,
  imageStream,
  ImsError,
  jobId as toJobId,
  type SagaName,
  type StepInput,
} from '@ims/contract';
import { type Database, ImagesRepository } from '@ims/db';
import { checkKeptFormat, diskOf } from '@ims/domain';
import type { NewEvent } from '@ims/event-log';
import { type DiskDescriptor, inspect, openInspected } from '@ims/image-format';
import type { Kysely, Transaction } from 'kysely';
import type { ActivityPorts } from '../step/ports';
import { progressReporter } from '../step/progress';
import { runStep, runUndo, type StepRun } from '../step/run-step';
import { startJob } from '../step/start-job';
import { serveReader } from './served-reader';
import { StoredFileSource } from './stored-file-source';

export const DERIVE_STEP = 'derive-disk';

export interface DeriveDiskInput extends StepInput {
  imageIds: readonly string[];
  /** Whose step it is: the saga's `step-completed` event must know a step `derive-disk` with the output `derivedDisks`. */
  saga: SagaName;
}

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'store'>;
type Disk = DerivedDisks['disks'][number];

export function createDeriveActivities(ports: Ports) {
  const images = new ImagesRepository(ports.db);
  return {
    /**
     * Makes the disks in the files of images readable for servers, or finds that they are already: each file is inspected before any converter sees
     * it, its disk stored in the same domain, read back, and from then on the image's own (design 4, "Downloads"). For an image that is a disk this
     * is its content. Refused with IMG.0057 or IMG.0072 when a file is not what it was declared to be, IMG.0144 when an image is not there.
     */
    deriveDisk: (input: DeriveDiskInput): Promise<DerivedDisks> => {
      // The files that this attempt looks into, by image: an image whose bytes were taken back may have others by the end.
      const files = new Map<string, string | null>();
      return runStep(ports, {
        name: DERIVE_STEP,
        saga: input.saga,
        input,
        parse: (output) => derivedDisks.parse(output),
        effect: async (run) => {
          await startJob(ports, DERIVE_STEP, { jobId: input.jobId, epoch: input.epoch });
          const disks: Disk[] = [];
          for (const imageId of distinct(input.imageIds)) {
            const image = await activeImage(ports.db, imageId);
            files.set(imageId, image.manifest_hash);
            // What is there already need not be derived.
            const disk = diskOf(image, await images.parts(imageId)) ?? (await derive(ports, run, input, image));
            disks.push({ imageId, ...disk });
          }
          return { disks };
        },
        companions: async (trx, { disks }) => {
          const events: NewEvent[] = [];
          for (const disk of disks) {
            const file = files.get(disk.imageId) ?? null;
            events.push(...(await derivedEvents(ports, trx, input, { ...disk, file })));
          }
          return events;
        },
      });
    },

    /** What is derived is the images' and stays; only what a broken attempt holds is given up. */
    discardDerivation: (input: Omit<DeriveDiskInput, 'imageIds'>): Promise<void> =>
      runUndo(ports, {
        name: DERIVE_STEP,
        saga: input.saga,
        input,
        effect: () => ports.store.discard(toJobId(input.jobId)),
      }),
  };
}

/** In one order for all jobs, so that two that use the same images cannot wait for each other. */
const distinct = (ids: readonly string[]): string[] => [...new Set(ids)].sort();

/** The disk becomes the image's own, unless another job was quicker: the disk in a file is one, so both have stored the same. */
async function derivedEvents(
  ports: Ports,
  trx: Transaction<Database>,
  { jobId }: DeriveDiskInput,
  { imageId, file, ...disk }: Disk & { file: string | null },
): Promise<NewEvent[]> {
  const image = await trx
    .selectFrom('image')
    .select(['project_id', 'status', 'form', 'manifest_hash'])
    .where('id', '=', imageId)
    .forUpdate()
    .executeTakeFirst();
  if (image?.status !== 'active' || image.manifest_hash !== file) throw noSuchImage(imageId);
  if (image.form === 'disk') return [];
  const isDerived = (await new ImagesRepository(trx).parts(imageId)).some(({ part }) => part === DISK_PART);
  const held = await trx
    .selectFrom('manifest_hold')
    .select('hash')
    .where('job_id', '=', jobId)
    .where('part', '=', imageId)
    .executeTakeFirst();
  if (held !== undefined) {
    await ports.store.publish(trx, {
      jobId: toJobId(jobId),
      imageId: toImageId(imageId),
      part: imageId,
      domainId: toDomain(disk.domainId),
      manifestHash: disk.manifestHash,
    });
  }
  if (isDerived) return [];
  // By the job: an image whose bytes were taken back may get others, whose disk is another one.
  const key = `disk-derived:${jobId}`;
  const stream = imageStream(toImageId(imageId));
  // It is the owner's image, whoever was the first to need its disk.
  return [{ stream, key, type: 'image.disk-derived', data: disk, projectId: image.project_id }];
}

const noSuchImage = (id: string): ImsError =>
  new ImsError('IMG.0144', `image ${id} is not active, or not with the bytes that it had`);

async function activeImage(db: Kysely<Database>, id: string) {
  const image = await db
    .selectFrom('image')
    .select([
      'id',
      'status',
      'form',
      'disk_format',
      'domain_id',
      'manifest_hash',
      'content_root',
      'virtual_size_bytes',
      'stored_bytes',
    ])
    .where('id', '=', id)
    .executeTakeFirst();
  if (image?.status !== 'active') throw noSuchImage(id);
  return image;
}

async function derive(
  ports: Ports,
  run: StepRun,
  { jobId }: DeriveDiskInput,
  image: Awaited<ReturnType<typeof activeImage>>,
): Promise<DerivedDisk> {
  const {
    id: imageId,
    domain_id: domain,
    manifest_hash: manifestHash,
    content_root: contentRoot,
    stored_bytes: storedBytes,
  } = image;
  if (domain === null || manifestHash === null || contentRoot === null || storedBytes === null)
    throw noSuchImage(imageId);
  const domainId = toDomain(domain);
  const declared = declaredFormat(image.disk_format);
  const file = await ports.store.open({ domainId, manifestHash }, 'raw');
  const bytes = new StoredFileSource(file, run.signal);
  const inspection = await inspect(bytes, {
    acceptIso: declared === 'iso',
    // It was accepted with this length.
    maxFileBytes: file.sizeBytes,
    signal: run.signal,
  });
  checkKeptFormat(declared, inspection.format);
  // Its bytes are the disk's: the content is the disk, and nothing is stored twice.
  if (declared === 'raw' || declared === 'iso')
    return { domainId, manifestHash, contentRoot, virtualSizeBytes: file.sizeBytes, storedBytes };

  const opened = await openInspected(inspection, bytes, { signal: run.signal });
  try {
    const named = { jobId, imageId, domainId };
    if (opened.kind === 'described') return await store(ports, run, named, opened.disk);
    const served = await serveReader(opened.reader, run.signal);
    try {
      return await store(ports, run, named, served.disk);
    } catch (error) {
      throw run.signal.aborted ? error : (served.failure() ?? error);
    } finally {
      await served.release();
    }
  } finally {
    await opened.release();
  }
}

function declaredFormat(text: string): DiskFormat {
  const format = DISK_FORMATS.find((known) => known === text);
  if (format === undefined) throw new ImsError('IMG.0072', `${text} is not a format of disks`);
  return format;
}

/** Stores the disk and reads it back: nothing is referenced before that (I3). */
async function store(
  ports: Ports,
  run: StepRun,
  { jobId, imageId, domainId }: { jobId: string; imageId: string; domainId: DedupDomainId },
  disk: DiskDescriptor,
): Promise<DerivedDisk> {
  const progress = progressReporter(ports, run, jobId, DERIVE_STEP);
  const { signal } = run;
  try {
    const stored = await ports.store.ingest({
      jobId: toJobId(jobId),
      domainId,
      // A job may derive the disks of several images.
      part: imageId,
      disk,
      signal,
      onProgress: ({ bytesDone, bytesTotal, bytesWritten }) => {
        run.note({ bytesWritten });
        progress.tick(bytesDone, bytesTotal);
      },
    });
    const { manifestHash, contentRoot, virtualSizeBytes, storedBytes } = stored;
    await ports.store.verify({ domainId, manifestHash, signal, onProgress: () => undefined });
    return { domainId, manifestHash, contentRoot, virtualSizeBytes, storedBytes };
  } finally {
    await progress.settle();
  }
}
