import {
  dedupDomainId as toDomain,
  type ErrorCode,
  ImsError,
  type ImageCopyInput,
  type IngestedDisk,
  ingestedDisk,
  jobId as toJobId,
  type StepInput,
  type UsedDisk,
} from '@ims/contract';
import type { ActivityPorts } from '../step/ports';
import { progressReporter } from '../step/progress';
import { runStep, runUndo } from '../step/run-step';
import { domainOf } from '../storage/domain-of';

export interface CopyDiskInput extends ImageCopyInput {
  source: UsedDisk;
}

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'store'>;

const saga = 'image-copy';

/** Codes of what is wrong with a key, and the same of the key of a copy's source (ims-api 7.1). */
const OF_SOURCE: Partial<Record<ErrorCode, ErrorCode>> = {
  'IMG.0095': 'IMG.0101',
  'IMG.0097': 'IMG.0102',
  'IMG.0099': 'IMG.0103',
};

export function createCopyActivities(ports: Ports) {
  return {
    /**
     * Stores the disk once more, where the copy is to be kept. Goes on from what the job already holds. The source is let go of with it: every byte of
     * the copy is held by the job itself.
     */
    copyImageDisk: (input: CopyDiskInput): Promise<IngestedDisk> =>
      runStep(ports, {
        name: 'copy-disk',
        saga,
        input,
        parse: (output) => ingestedDisk.parse(output),
        effect: async (run) => {
          const { jobId, projectId, cmkId, source } = input;
          const from = { domainId: toDomain(source.domainId), manifestHash: source.manifestHash };
          // By itself, so that it is known whose key was refused.
          const checkSource = (): Promise<unknown> =>
            ports.store.open(from, 'raw').catch((error: unknown) => {
              throw ofSource(error);
            });
          await checkSource();
          const progress = progressReporter(ports, run, jobId, 'copy-disk');
          try {
            return await ports.store.copy({
              jobId: toJobId(jobId),
              from,
              domainId: await domainOf(ports.store, projectId, cmkId),
              signal: run.signal,
              onProgress: ({ bytesDone, bytesTotal, bytesWritten }) => {
                run.note({ bytesWritten });
                progress.tick(bytesDone, bytesTotal);
              },
            });
          } catch (error) {
            // Switched off in the middle of it: again the source answers for itself.
            if (ofSource(error) !== error) await checkSource();
            throw error;
          } finally {
            await progress.settle();
          }
        },
        companions: async (trx, disk) => {
          await trx
            .deleteFrom('manifest_hold')
            .where('job_id', '=', input.jobId)
            .where((eb) => eb.or([eb('domain_id', '<>', disk.domainId), eb('hash', '<>', disk.manifestHash)]))
            .execute();
          return [];
        },
      }),
    discardCopy: (input: StepInput): Promise<void> =>
      runUndo(ports, { name: 'copy-disk', saga, input, effect: () => ports.store.discard(toJobId(input.jobId)) }),
  };
}

function ofSource(error: unknown): unknown {
  const code = error instanceof ImsError ? OF_SOURCE[error.code] : undefined;
  return code === undefined ? error : new ImsError(code);
}
