import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import {
  type BucketStore,
  holdsBytes,
  ObjectExistsError,
  ObjectNameError,
  type ObjectUpload,
  openSource,
  partSizeBytes,
  SourceChangedError,
  UploadGoneError,
} from '@ims/buckets';
import {
  type BucketFile,
  type CheckedObject,
  checkedObject,
  checksumKeyOf,
  dedupDomainId as toDomain,
  type ExportedObject,
  exportedObject,
  imageId as toImageId,
  type ImageExportInput,
  ImsError,
  jobId as toJobId,
  type PinnedFile,
  type ReleasedImages,
  releasedImages,
  type UsedDisk,
} from '@ims/contract';
import { type ExportedPart, ExportsRepository } from '@ims/db';
import { checkExportBucket, checkExportSize, recordUsage } from '@ims/domain';
import { succeeded } from '../compute/image-use.activities';
import { failure } from '../step/failure';
import type { ActivityPorts } from '../step/ports';
import { progressReporter } from '../step/progress';
import { runStep, runUndo, type StepRun } from '../step/run-step';
import { type ExportFile, exportFileOf } from './export-file';
import { type MadePart, makeParts, OtherBytesError } from './export-parts';

export interface ExportImageInput extends ImageExportInput {
  disks: readonly UsedDisk[];
}
export interface ReleaseExportInput extends ImageExportInput {
  exported: ExportedObject;
}

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'store' | 'buckets' | 'region'>;

const SAGA = 'image-export';

export function createExportActivities(ports: Ports) {
  return {
    /**
     * Writes the object in parts, each made when it is sent. Goes on behind the parts that the store has, whoever sent them. The object appears
     * whole and never replaces one (IMG.0070).
     */
    exportImage: (input: ExportImageInput): Promise<ExportedObject> =>
      runStep(ports, {
        name: 'export',
        saga: SAGA,
        input,
        parse: (output) => exportedObject.parse(output),
        effect: (run) => exportObject(ports, run, input).catch(explain),
      }),

    /** Drops the parts and the object, if it is the one of this job. */
    withdrawExport: (input: ImageExportInput): Promise<void> =>
      runUndo(ports, {
        name: 'export',
        saga: SAGA,
        input,
        effect: () => withdrawObject(ports, input),
      }),

    /** Reads the object back, compares it part by part with what was sent, and puts its sums beside it. */
    checkExport: (input: ImageExportInput): Promise<CheckedObject> =>
      runStep(ports, {
        name: 'check-object',
        saga: SAGA,
        input,
        parse: (output) => checkedObject.parse(output),
        effect: (run) => checkObject(ports, run, input).catch(explain),
      }),

    withdrawChecksum: (input: ImageExportInput): Promise<void> =>
      runUndo(ports, {
        name: 'check-object',
        saga: SAGA,
        input,
        effect: async () => {
          const sha256 = (await new ExportsRepository(ports.db).find(input.jobId))?.sha256;
          if (sha256 != null) await ports.buckets.removeCreated(checksumFileOf(input), sumLine(input, sha256));
        },
      }),

    /** The last step: the image is let go, what was written is on record, and the job has succeeded. */
    releaseExport: (input: ReleaseExportInput): Promise<ReleasedImages> =>
      runStep(ports, {
        name: 'release-image',
        saga: SAGA,
        input,
        parse: (output) => releasedImages.parse(output),
        effect: () => Promise.resolve({ imageIds: [input.imageId] }),
        companions: async (trx) => {
          await new ExportsRepository(trx).forget(input.jobId);
          return [
            recordUsage({
              jobId: toJobId(input.jobId),
              imageId: toImageId(input.imageId),
              meter: 'export',
              bytes: input.exported.sizeBytes,
            }),
            ...(await succeeded(trx, input.jobId, input.imageId)),
          ];
        },
      }),
  };
}

async function exportObject(ports: Ports, run: StepRun, input: ExportImageInput): Promise<ExportedObject> {
  const [disk] = input.disks;
  // The saga holds exactly the disk that it names.
  if (disk === undefined) throw new TypeError('an export without a disk');
  checkExportSize(disk.virtualSizeBytes, input.maxDiskBytes);
  checkExportBucket(await ports.buckets.describeBucket(input.target.bucket), {
    name: input.target.bucket,
    region: ports.region,
  });
  const file = await exportFileOf(
    ports.store,
    { domainId: toDomain(disk.domainId), manifestHash: disk.manifestHash },
    input.format,
  );
  const maxBytes = file.kind === 'positioned' ? file.file.sizeBytes : file.file.maxBytes;
  const upload = await openUpload(ports, input, partSizeBytes(maxBytes));
  try {
    return await sendParts(ports, run, input, { file, maxBytes, upload });
  } catch (error) {
    if (!(error instanceof OtherBytesError) && !(error instanceof UploadGoneError)) throw error;
    // Another attempt of this step, which outlived its worker, has come to the end.
    if ((await ports.buckets.objectOf(upload)) !== undefined)
      throw failure('IMG.0061', error.message, { cause: error, retryable: true });
    // Neither what was sent nor where it was sent can be gone on with: the next attempt begins again, unless another one has already.
    const exports = new ExportsRepository(ports.db);
    const isOurs = error instanceof OtherBytesError || (await exports.clearUpload(input.jobId, upload.uploadId));
    if (isOurs) await exports.dropParts(input.jobId, 1);
    throw failure('IMG.0061', error.message, { cause: error, retryable: true });
  }
}

/** The job's upload: the one that was begun before, or a new one. */
async function openUpload(
  { db, buckets }: Ports,
  { jobId, target }: ImageExportInput,
  partBytes: number,
): Promise<ObjectUpload> {
  const exports = new ExportsRepository(db);
  const known = await exports.find(jobId);
  if (known === undefined) {
    for (const file of [target, { ...target, key: checksumKeyOf(target.key) }])
      if ((await buckets.pin(file)) !== undefined) throw new ObjectExistsError(file);
  }
  const row =
    known ??
    (await exports.claim({
      jobId,
      ...target,
      partBytes,
      foreignUploads: await buckets.pendingUploads(target),
    }));
  if (row === undefined) throw new ImsError('IMG.0070', 'another export is making it, or this one has ended');
  const options = { owner: jobId, partSizeBytes: row.part_bytes };
  if (row.upload_id !== null) return { file: target, uploadId: row.upload_id, ...options };
  await dropUnanswered(buckets, target, row.foreign_uploads);
  const upload = await buckets.startUpload(target, options);
  if (await exports.setUpload(jobId, upload.uploadId)) return upload;
  // The job has ended meanwhile: nobody else will ever hear of this upload.
  await buckets.abortUpload(upload);
  throw new UploadGoneError(target);
}

/** An upload may have begun without anybody having heard its name. */
async function dropUnanswered(buckets: BucketStore, file: BucketFile, foreign: unknown): Promise<void> {
  const others: readonly unknown[] = Array.isArray(foreign) ? foreign : [];
  for (const uploadId of await buckets.pendingUploads(file))
    if (!others.includes(uploadId)) await buckets.abortUpload({ file, uploadId });
}

async function sendParts(
  ports: Ports,
  run: StepRun,
  { jobId, target, format }: ExportImageInput,
  { file, maxBytes, upload }: { file: ExportFile; maxBytes: number; upload: ObjectUpload },
): Promise<ExportedObject> {
  const exports = new ExportsRepository(ports.db);
  const summary = (parts: readonly ExportedPart[]): ExportedObject => ({
    ...target,
    format,
    sizeBytes: sizeOf(parts),
    partCount: parts.length,
  });
  const recorded = await exports.parts(jobId);
  // The object was there already when only the answer was lost; the call also tidies up after whoever made it.
  if ((await ports.buckets.objectOf(upload)) !== undefined) {
    await ports.buckets.completeUpload(upload, recorded);
    return summary(recorded);
  }
  const done = inRow(recorded, await ports.buckets.listParts(upload));
  await exports.dropParts(jobId, done.length + 1);

  const progress = progressReporter(ports, run, jobId, 'export');
  const parts = [...done];
  const send = async ({ part, pieces, sizeBytes, md5, mark }: MadePart): Promise<void> => {
    const { etag } = await ports.buckets.putPart(upload, part, { pieces, sizeBytes, md5 }, run.signal);
    const row = { part, sizeBytes, md5: md5.toString('hex'), etag, mark };
    await exports.putPart(jobId, row);
    parts.push(row);
    const bytesDone = sizeOf(parts);
    run.note({ bytesWritten: bytesDone - sizeOf(done) });
    progress.tick(bytesDone, Math.max(bytesDone, maxBytes));
  };
  let sending: Promise<void> = Promise.resolve();
  try {
    for await (const made of makeParts(file, upload.partSizeBytes, done, run.signal)) {
      run.signal.throwIfAborted();
      // One is on its way while the next one is made.
      await sending;
      sending = send(made);
      sending.catch(() => undefined);
    }
    await sending;
  } finally {
    await Promise.allSettled([sending]);
    await progress.settle();
  }
  await ports.buckets.completeUpload(upload, parts);
  return summary(parts);
}

const sizeOf = (parts: readonly { sizeBytes: number }[]): number =>
  parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);

/** The recorded parts from the first one on, up to the first that the store does not have as it was sent. */
function inRow(
  recorded: readonly ExportedPart[],
  stored: readonly { part: number; etag: string; sizeBytes: number }[],
): ExportedPart[] {
  const known = new Set(stored.map(({ part, etag, sizeBytes }) => `${part} ${etag} ${sizeBytes}`));
  const end = recorded.findIndex(
    ({ part, etag, sizeBytes }, n) => part !== n + 1 || !known.has(`${part} ${etag} ${sizeBytes}`),
  );
  return recorded.slice(0, end < 0 ? recorded.length : end);
}

async function withdrawObject({ db, buckets }: Ports, { jobId, target }: ImageExportInput): Promise<void> {
  const exports = new ExportsRepository(db);
  const row = await exports.find(jobId);
  // Nothing is begun before its name is claimed.
  if (row === undefined) return;
  if (row.upload_id === null) {
    await dropUnanswered(buckets, target, row.foreign_uploads);
    // Where an upload is found by its owner, this finds the one whose name was never heard. With a bucket that has gone, so has all that was in it.
    if ((await buckets.describeBucket(target.bucket)) !== undefined)
      await buckets.abortUpload(await buckets.startUpload(target, { owner: jobId, partSizeBytes: row.part_bytes }));
  } else {
    const upload = { file: target, uploadId: row.upload_id, owner: jobId, partSizeBytes: row.part_bytes };
    await buckets.abortUpload(upload);
    if ((await buckets.objectOf(upload)) !== undefined) await buckets.remove(target);
  }
  await exports.forget(jobId);
}

// Read in pieces of this size: a few requests a second at the speed of a network, and nothing in memory.
const READ_BYTES = 8 * 2 ** 20;

async function checkObject(ports: Ports, run: StepRun, input: ImageExportInput): Promise<CheckedObject> {
  const { jobId, target } = input;
  const exports = new ExportsRepository(ports.db);
  const row = await exports.find(jobId);
  const pinned =
    row?.upload_id == null
      ? undefined
      : await ports.buckets.objectOf({
          file: target,
          uploadId: row.upload_id,
          owner: jobId,
          partSizeBytes: row.part_bytes,
        });
  if (pinned === undefined)
    throw failure('IMG.0061', `the object ${target.key} is not there any more`, { retryable: false });
  const parts = await exports.parts(jobId);
  const sha256 = await readBack(ports, run, input, pinned, parts);
  await exports.setSha256(jobId, sha256);
  const sums = checksumFileOf(input);
  try {
    await ports.buckets.createObject(sums, sumLine(input, sha256));
  } catch (error) {
    // By an attempt that was not heard of.
    const isOurs =
      error instanceof ObjectExistsError && (await holdsBytes(ports.buckets, sums, sumLine(input, sha256)));
    if (!isOurs) throw error;
  }
  return { sizeBytes: pinned.sizeBytes, sha256, etag: pinned.etag };
}

async function readBack(
  ports: Ports,
  run: StepRun,
  { jobId }: ImageExportInput,
  pinned: PinnedFile,
  parts: readonly ExportedPart[],
): Promise<string> {
  if (pinned.sizeBytes !== sizeOf(parts))
    throw failure('IMG.0061', `the object has ${pinned.sizeBytes} bytes, ${sizeOf(parts)} were sent`, {
      retryable: false,
    });
  const progress = progressReporter(ports, run, jobId, 'check-object');
  const source = await openSource(ports.buckets.describe(pinned));
  const sha256 = createHash('sha256');
  const buffer = Buffer.alloc(READ_BYTES);
  let position = 0;
  try {
    for (const { part, sizeBytes, md5 } of parts) {
      const digest = createHash('md5');
      for (const end = position + sizeBytes; position < end;) {
        run.signal.throwIfAborted();
        const bytes = buffer.subarray(0, Math.min(READ_BYTES, end - position));
        await source.read(position, bytes, run.signal);
        sha256.update(bytes);
        digest.update(bytes);
        position += bytes.length;
        progress.tick(position, pinned.sizeBytes);
      }
      if (digest.digest('hex') !== md5)
        throw failure('IMG.0061', `part ${part} of the object differs from what was sent`, { retryable: false });
    }
    return sha256.digest('hex');
  } finally {
    await source.close();
    await progress.settle();
  }
}

const checksumFileOf = ({ target }: ImageExportInput): BucketFile => ({ ...target, key: checksumKeyOf(target.key) });

/** A line of `sha256sum`, which checks it in the folder of the object. */
const sumLine = ({ target }: ImageExportInput, sha256: string): Buffer =>
  Buffer.from(`${sha256}  ${posix.basename(target.key)}\n`);

/** What an error of the bucket means for an object that is made, not read. */
function explain(error: unknown): never {
  if (error instanceof ObjectNameError) throw new ImsError('IMG.0075', error.message);
  // Touched, moved or replaced while it was read back: the next attempt sees what is there now.
  if (error instanceof SourceChangedError) throw failure('IMG.0061', error.message, { cause: error, retryable: true });
  throw error;
}
