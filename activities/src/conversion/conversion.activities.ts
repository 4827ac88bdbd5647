import {
  type BucketFile,
  dedupDomainId as toDomain,
  identifiedOs,
  imageCreateInput,
  type ImageCreateInput,
  ImsError,
  type IdentifiedOs,
  type ImageSource,
  type IngestedDisk,
  type InspectedSource,
  inspectedSource,
  type PinnedFile,
  type StepInput,
} from '@ims/contract';
import { type ByteSource, openSource } from '@ims/buckets';
import { bitmapOf, checkFileSize, checkKeptFormat, checkQuickFormat, maxFileBytes } from '@ims/domain';
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

const GIB = 2 ** 30;

type Ports = Pick<ActivityPorts, 'db' | 'clock' | 'worker' | 'buckets' | 'staged' | 'store' | 'region' | 'inspection'>;

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
        effect: async (run) => {
          await startJob(ports, 'inspect', input);
          switch (input.source.kind) {
            case 'bucket-file':
              return inspectBucketFile(ports, input, input.source.file);
            case 'iso-file':
              return inspectIsoFile(ports, input, input.source.file);
            case 'kept-file':
              return inspectKeptFile(ports, input, input.source.file);
            case 'staged-file':
            case 'web-file':
              return inspectStagedFile(ports, input, input.source, run.signal);
            case 'server':
            case 'backup':
            case 'whole-server':
            case 'volume':
            case 'data-disk':
              // The saga calls this step for files alone; anything else here is a defect of it.
              throw new TypeError(`a ${input.source.kind} is not a file`);
            default:
              return input.source satisfies never;
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

async function inspectBucketFile(ports: Ports, input: ImageCreateInput, file: BucketFile): Promise<InspectedSource> {
  // A workflow hands on its input as it was recorded, perhaps before these fields were there.
  const { kind, quickImport } = imageCreateInput.parse(input);
  return lookInto(ports, file, quickImport, async (source, pinned) => {
    const { format, virtualSizeBytes } = await inspect(source, { maxFileBytes: maxFileBytes(quickImport) });
    if (quickImport) checkQuickFormat(format, await hasBitmap(ports, file));
    checkDiskFits(input.minDiskGib, virtualSizeBytes, kind);
    return { file: pinned, format, virtualSizeBytes };
  });
}

/** CRE-11: the file is kept, so it may be nothing but what it is said to be. */
async function inspectIsoFile(ports: Ports, input: ImageCreateInput, file: BucketFile): Promise<InspectedSource> {
  return lookInto(ports, file, false, async (source, pinned) => {
    const { format, virtualSizeBytes } = await inspect(source, { maxFileBytes: maxFileBytes(false), acceptIso: true });
    checkKeptFormat('iso', format);
    checkDiskFits(input.minDiskGib, virtualSizeBytes, 'system');
    return { file: pinned, format, virtualSizeBytes, form: 'file' };
  });
}

/** A disk file that is kept: of the format that it is said to have. */
async function inspectKeptFile(ports: Ports, input: ImageCreateInput, file: BucketFile): Promise<InspectedSource> {
  const { diskFormat: declared } = input;
  // Whoever asks for it to be kept knows what it is.
  if (declared === undefined) throw new TypeError(`${file.bucket}:${file.key} has no declared format`);
  return lookInto(ports, file, false, async (source, pinned) => {
    const { format, virtualSizeBytes } = await inspect(source, { maxFileBytes: maxFileBytes(false) });
    checkKeptFormat(declared, format);
    checkDiskFits(input.minDiskGib, virtualSizeBytes, 'system');
    return { file: pinned, format: declared, virtualSizeBytes, form: 'file' };
  });
}

/** ims-api 12.7: what was sent is the image; what it was declared to be is believed only where the operator wants that. */
async function inspectStagedFile(
  ports: Ports,
  input: ImageCreateInput,
  source: Extract<ImageSource, { kind: 'staged-file' | 'web-file' }>,
  signal: AbortSignal,
): Promise<InspectedSource> {
  const { diskFormat: declared } = input;
  const { stagedId } = source;
  // Whoever accepts a staged file knows what its image was declared to be.
  if (declared === undefined) throw new TypeError(`staged file ${stagedId} has no declared format`);
  const pinned = await ports.staged.pin(stagedId);
  if (!pinned) throw new ImsError('IMG.0057', 'what was sent is not there any more; send it again');
  if (pinned.sizeBytes === 0) throw new ImsError('IMG.0057', 'the file is empty');
  checkFileSize(pinned.sizeBytes, false);
  const kept = {
    file: pinned,
    format: declared,
    form: 'file',
    stagedId,
    ...(source.kind === 'staged-file' && source.digests !== undefined ? { digests: source.digests } : {}),
  } as const;
  if (ports.inspection === 'at-use') return { ...kept, virtualSizeBytes: pinned.sizeBytes, isUnseen: true };
  const bytes = await openSource(ports.staged.describe(pinned));
  try {
    const { format, virtualSizeBytes } = await inspect(bytes, {
      maxFileBytes: maxFileBytes(false),
      acceptIso: declared === 'iso',
      signal,
    });
    checkKeptFormat(declared, format);
    checkDiskFits(input.minDiskGib, virtualSizeBytes, 'system');
    await bytes.checkUnchanged();
    return { ...kept, virtualSizeBytes };
  } finally {
    await bytes.close();
  }
}

/** Opens one version of a bucket's file for `look`, if it may be read at all. */
async function lookInto(
  ports: Ports,
  file: BucketFile,
  quickImport: boolean,
  look: (source: ByteSource, pinned: PinnedFile) => Promise<InspectedSource>,
): Promise<InspectedSource> {
  const bucket = await ports.buckets.describeBucket(file.bucket);
  if (!bucket) throw new ImsError('IMG.0069', `bucket ${file.bucket}`);
  if (bucket.region !== ports.region) throw new ImsError('IMG.0058', `${file.bucket} is in ${bucket.region}`);
  if (bucket.storageClass !== 'STANDARD') throw new ImsError('IMG.0069', 'only Standard storage can be imported from');
  const pinned = await ports.buckets.pin(file);
  if (!pinned) throw new ImsError('IMG.0057', `${file.bucket}:${file.key} does not exist`);
  checkFileSize(pinned.sizeBytes, quickImport);
  const source = await openSource(ports.buckets.describe(pinned));
  try {
    const found = await look(source, pinned);
    await source.checkUnchanged();
    return found;
  } finally {
    await source.close();
  }
}

/** An image made without a file may leave its smallest disk open: then the file alone says how large that is. */
function checkDiskFits(minDiskGib: number, virtualSizeBytes: number, kind: 'system' | 'data'): void {
  checkMinDisk(minDiskGib === 0 ? Math.ceil(virtualSizeBytes / GIB) : minDiskGib, virtualSizeBytes, kind);
}

async function hasBitmap({ buckets }: Ports, file: BucketFile): Promise<boolean> {
  const bitmap = bitmapOf(file);
  return bitmap !== undefined && (await buckets.pin(bitmap)) !== undefined;
}
