import {
  type BucketFile,
  dedupDomainId as toDomain,
  identifiedOs,
  imageCreateInput,
  type ImageCreateInput,
  ImsError,
  type IdentifiedOs,
  type IngestedDisk,
  type InspectedSource,
  inspectedSource,
  type StepInput,
} from '@ims/contract';
import { openSource } from '@ims/buckets';
import { bitmapOf, checkFileSize, checkQuickFormat, maxFileBytes } from '@ims/domain';
import { checkMinDisk, identifyOs, inspect } from '@ims/image-format';
import type { ActivityPorts } from '../step/ports';
import { runStep } from '../step/run-step';
import { startJob } from '../step/start-job';
import { diskReaderOf } from './disk-reader-of';

export interface IdentifyOsInput extends StepInput {
  disk: IngestedDisk;
  osVersion: string | null;
  /** A system recognised on the disk counts more than `osVersion`. */
  detectedWins?: boolean;
  architecture: 'x86' | 'arm';
}

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'buckets' | 'store' | 'region'>;

/** What is in the file, and what is in the disk: looks only, changes nothing, so none of these has an undo. */
export function createConversionActivities(ports: Ports) {
  return {
    /** Pins the file and reads its headers with our own parser, before any converter has seen it (backends D1.1, image-formats 1). */
    inspectSource: (input: ImageCreateInput): Promise<InspectedSource> =>
      runStep(ports, {
        name: 'inspect',
        saga: 'image-create',
        input,
        parse: (output) => inspectedSource.parse(output),
        effect: async () => {
          // The saga calls this step for files alone; anything else here is a defect of it.
          if (input.source.kind !== 'bucket-file') throw new TypeError(`a ${input.source.kind} is not a file`);
          await startJob(ports, 'inspect', input);
          const { file } = input.source;
          // A workflow hands on its input as it was recorded, perhaps before these fields were there.
          const { kind, quickImport } = imageCreateInput.parse(input);
          const bucket = await ports.buckets.describeBucket(file.bucket);
          if (!bucket) throw new ImsError('IMG.0069', `bucket ${file.bucket}`);
          if (bucket.region !== ports.region) throw new ImsError('IMG.0058', `${file.bucket} is in ${bucket.region}`);
          if (bucket.storageClass !== 'STANDARD')
            throw new ImsError('IMG.0069', 'only Standard storage can be imported from');
          const pinned = await ports.buckets.pin(file);
          if (!pinned) throw new ImsError('IMG.0057', `${file.bucket}:${file.key} does not exist`);
          checkFileSize(pinned.sizeBytes, quickImport);
          const source = await openSource(ports.buckets.describe(pinned));
          try {
            const inspection = await inspect(source, { maxFileBytes: maxFileBytes(quickImport) });
            if (quickImport) checkQuickFormat(inspection.format, await hasBitmap(ports, file));
            checkMinDisk(input.minDiskGib, inspection.virtualSizeBytes, kind);
            await source.checkUnchanged();
            return { file: pinned, format: inspection.format, virtualSizeBytes: inspection.virtualSizeBytes };
          } finally {
            await source.close();
          }
        },
      }),

    /** Looks into the stored, verified disk, so what it says is true of the bytes that will be served. */
    identifyOs: (input: IdentifyOsInput): Promise<IdentifiedOs> =>
      runStep(ports, {
        name: 'identify-os',
        saga: 'image-create',
        input,
        parse: (output) => identifiedOs.parse(output),
        effect: async (run) => {
          const file = await ports.store.open(
            { domainId: toDomain(input.disk.domainId), manifestHash: input.disk.manifestHash },
            'raw',
          );
          return identifyOs(diskReaderOf(file, run.signal), {
            architecture: input.architecture,
            detectedWins: input.detectedWins === true,
            ...(input.osVersion === null ? {} : { osVersion: input.osVersion }),
          });
        },
      }),
  };
}

async function hasBitmap({ buckets }: Ports, file: BucketFile): Promise<boolean> {
  const bitmap = bitmapOf(file);
  return bitmap !== undefined && (await buckets.pin(bitmap)) !== undefined;
}
