import { createHash } from 'node:crypto';
import {
  type AcquiredSource,
  dedupDomainId as toDomain,
  imageId as toImageId,
  type ImageJob,
  imageSagaOf,
  imageStream,
  ImsError,
  type ImageDigestInput,
  type ImageDigestOutput,
  type IngestedDisk,
  ingestedDisk,
  jobId as toJobId,
  type StepInput,
  type StoredDataDisk,
  SYSTEM,
  type VerifiedDisk,
  verifiedDisk,
} from '@ims/contract';
import { activityInfo, cancellationSignal, heartbeat } from '@temporalio/activity';
import { inTransaction } from '@ims/db';
import { appendEvents, findEvent } from '@ims/event-log';
import type { IngestBase, IngestProgress } from '@ims/image-store';
import type { ActivityPorts } from '../step/ports';
import { progressReporter } from '../step/progress';
import { runStep, runUndo } from '../step/run-step';
import { toFailure } from '../step/failure';
import { domainOf } from './domain-of';
import { disksOf, type NamedDisk, openAcquired } from './disk-source';
import { earlierImageOf } from './earlier-image';
import { progressOverDisks } from './progress-over-disks';
import { storedDisksOf } from './stored-disks';

export interface IngestInput extends StepInput {
  projectId: string;
  /** As in `ImageJob`. */
  cmkId?: string | undefined;
  /** Named so since files were the only source; executions under way have it recorded. */
  inspected: AcquiredSource;
}
export interface VerifyInput extends StepInput, Pick<ImageJob, 'saga'> {
  disk: IngestedDisk;
  /** What the bytes must be; anything is right when left out. */
  sha256?: string;
}

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'buckets' | 'staged' | 'store' | 'volumes' | 'backups'>;

export function createStorageActivities(ports: Ports) {
  return {
    /** One pass over each disk of the source into segments and packs. Goes on from what the job already holds. */
    ingestDisk: (input: IngestInput): Promise<IngestedDisk> =>
      runStep(ports, {
        name: 'ingest',
        saga: 'image-create',
        input,
        parse: (output) => ingestedDisk.parse(output),
        effect: async (run) => {
          const [content, ...others] = disksOf(input.inspected);
          if (content === undefined) throw new TypeError('a source without a disk');
          const baseOf = await earlierImageOf(ports, input.projectId, input.inspected);
          const progress = progressReporter(ports, run, input.jobId, 'ingest');
          let bytesWritten = 0;
          const over = progressOverDisks(
            [content, ...others].map(({ source }) => source.virtualSizeBytes),
            (done, total) => progress.tick(done, total),
          );
          const store = async (disk: NamedDisk, at: number): Promise<IngestedDisk> => {
            const before = bytesWritten;
            return ingestOne(ports, input, { ...disk, base: await baseOf(disk.source) }, run.signal, (ticked) => {
              bytesWritten = before + ticked.bytesWritten;
              run.note({ bytesWritten });
              over.tick(at, ticked);
            });
          };
          try {
            const disk = await store(content, 0);
            const dataDisks: StoredDataDisk[] = [];
            // One after the other: a disk fills all threads, and its resume position is the job's.
            for (const [n, other] of others.entries()) {
              const { data } = other;
              if (data !== undefined) dataDisks.push({ ...(await store(other, n + 1)), device: data.device });
            }
            return dataDisks.length === 0 ? disk : { ...disk, dataDisks };
          } finally {
            await progress.settle();
          }
        },
      }),
    discardIngest: (input: StepInput): Promise<void> =>
      runUndo(ports, {
        name: 'ingest',
        saga: 'image-create',
        input,
        effect: () => ports.store.discard(toJobId(input.jobId)),
      }),

    /** Reads everything back. Nothing is referenced before this has passed (I3). */
    verifyDisk: (input: VerifyInput): Promise<VerifiedDisk> =>
      runStep(ports, {
        name: 'verify',
        saga: imageSagaOf(input),
        input,
        parse: (output) => verifiedDisk.parse(output),
        effect: async (run) => {
          const progress = progressReporter(ports, run, input.jobId, 'verify');
          const disks = storedDisksOf(input.disk);
          const over = progressOverDisks(
            disks.map(({ virtualSizeBytes }) => virtualSizeBytes),
            (done, total) => progress.tick(done, total),
          );
          try {
            const verified: VerifiedDisk = { segmentsVerified: 0, contentRoot: input.disk.contentRoot };
            for (const [at, { domainId, manifestHash, device }] of disks.entries()) {
              const { segmentsVerified, contentRoot } = await ports.store.verify({
                domainId: toDomain(domainId),
                manifestHash,
                signal: run.signal,
                onProgress: (bytesDone, bytesTotal) => over.tick(at, { bytesDone, bytesTotal }),
              });
              verified.segmentsVerified += segmentsVerified;
              if (device === undefined) verified.contentRoot = contentRoot;
              else verified.dataDiskRoots = { ...verified.dataDiskRoots, [device]: contentRoot };
            }
            if (input.sha256 !== undefined) await checkDigest(ports, input.disk, input.sha256, run.signal);
            return verified;
          } finally {
            await progress.settle();
          }
        },
      }),

    /** Digests of what a plain download serves. Null when the image has gone in the meantime. */
    digestImage: async (input: ImageDigestInput): Promise<ImageDigestOutput | null> => {
      const signal = cancellationSignal();
      const stream = imageStream(toImageId(input.imageId));
      let done = 0;
      // Four beats fit into the heartbeat timeout of 12 s.
      const beat = setInterval(() => heartbeat({ step: 'digest', bytesDone: done }), 3_000);
      try {
        if (await findEvent(ports.db, stream, 'digested')) return null;
        const file = await ports.store.open(
          { domainId: toDomain(input.domainId), manifestHash: input.manifestHash },
          input.form === 'file' ? 'raw' : 'zvhd2',
        );
        const md5 = createHash('md5');
        const sha512 = createHash('sha512');
        for await (const chunk of file.read(undefined, signal)) {
          md5.update(chunk);
          sha512.update(chunk);
          done += chunk.length;
        }
        const output = { md5: md5.digest('hex'), sha512: sha512.digest('hex'), sizeBytes: file.sizeBytes };
        return await inTransaction(ports.db, async (trx) => {
          const image = await trx
            .selectFrom('image')
            .select('status')
            .where('id', '=', input.imageId)
            .forUpdate()
            .executeTakeFirst();
          if (!hasBytes(image)) return null;
          await appendEvents(trx, { projectId: input.projectId, actor: SYSTEM, step: 'digest' }, [
            { stream, key: 'digested', type: 'image.digested', data: output },
          ]);
          return output;
        });
      } catch (err) {
        // A deleted image takes its bytes along; the digest of nothing is no failure.
        const image = await ports.db
          .selectFrom('image')
          .select('status')
          .where('id', '=', input.imageId)
          .executeTakeFirst();
        if (!hasBytes(image)) return null;
        throw toFailure(err, activityInfo().attempt);
      } finally {
        clearInterval(beat);
      }
    },
  };
}

/** ADV-04: what is stored, not what was sent, is what its vendor has published. */
async function checkDigest(
  { store }: Pick<Ports, 'store'>,
  { domainId, manifestHash }: IngestedDisk,
  expected: string,
  signal: AbortSignal,
): Promise<void> {
  const file = await store.open({ domainId: toDomain(domainId), manifestHash }, 'raw');
  const hash = createHash('sha256');
  for await (const chunk of file.read(undefined, signal)) hash.update(chunk);
  const found = hash.digest('hex');
  if (found !== expected) throw new ImsError('IMG.0057', `its SHA-256 is ${found}, not ${expected}`);
}

/** Its digest is taken also while nobody may use it: it will be used again. */
const hasBytes = (image: { status: string } | undefined): boolean =>
  image?.status === 'active' || image?.status === 'deactivated';

/** Stores one disk, and fails when its bytes may not be those of the first step. */
async function ingestOne(
  ports: Ports,
  { jobId, projectId, cmkId }: IngestInput,
  { source, data, base }: NamedDisk & { base: IngestBase | undefined },
  signal: AbortSignal,
  onProgress: (progress: IngestProgress) => void,
): Promise<IngestedDisk> {
  const opened = await openAcquired(ports, projectId, source, signal);
  try {
    const disk = await ports.store.ingest({
      jobId: toJobId(jobId),
      domainId: await domainOf(ports.store, projectId, cmkId),
      ...(data === undefined ? {} : { part: data.part }),
      disk: opened.disk,
      ...(base === undefined ? {} : { base }),
      signal,
      onProgress,
    });
    // A converter reads without conditions: the file must be the pinned one after the last byte too.
    await opened.checkUnchanged();
    return disk;
  } finally {
    await opened.release();
  }
}
