import {
  DISK_FORMATS,
  type DiskFormat,
  fetchedFileId,
  type FileDigests,
  type ImageCreateInput,
  type ImageId,
  type ImageSource,
  ImsError,
  type JobId,
  type ProjectId,
  quotaStream,
  STEPS_OF_SOURCE,
} from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { jobAccepted } from '../job/job-accepted';
import { findAnyOsVersion } from '../os/os-version';
import { DEFAULT_QUOTA, type QuotaState, checkQuota } from '../quota/quota.rules';
import { parseImageUrl } from './image-url';

/** An image as far as it matters to whoever brings its bytes. */
export interface WaitingImage {
  id: ImageId;
  projectId: ProjectId;
  name: string;
  status: string;
  diskFormat: string;
  minDiskGib: number;
  attributes: Readonly<Record<string, unknown>>;
  /** A job brings its bytes already. */
  isBeingMade: boolean;
}

/** What brings the bytes: a file that was sent to the service (ims-api 12.7), one of the web, or one in a bucket (6.6). */
export type UploadedFrom =
  | { by: 'upload'; stagedId: string; sizeBytes: number; digests?: FileDigests }
  | { by: 'web'; uri: string }
  | { by: 'registration'; imageUrl: string };

export interface UploadCommand {
  projectId: ProjectId;
  jobId: JobId;
  from: UploadedFrom;
  /** The status in which this way of bringing bytes finds the image; `queued` when left out. */
  expectedStatus?: 'queued' | 'uploading';
}

const NOT_FOUND = 404;
const CONFLICT = 409;

/**
 * An image that may get bytes now: fails with IMG.0144 (404) when it is absent or another tenant's, with IMG.0046 (409, a registration 400) when
 * it does not wait for any.
 */
export function checkIsWaiting(
  image: WaitingImage | undefined,
  by: { projectId: ProjectId; from: UploadedFrom['by']; expectedStatus?: UploadCommand['expectedStatus'] | undefined },
): WaitingImage {
  if (image === undefined || image.projectId !== by.projectId) throw new ImsError('IMG.0144', undefined, NOT_FOUND);
  const expected = by.expectedStatus ?? 'queued';
  if (image.status !== expected || image.isBeingMade) {
    const reason = image.isBeingMade ? 'its bytes are on their way' : `it is ${image.status}, not ${expected}`;
    throw new ImsError('IMG.0046', reason, by.from === 'registration' ? undefined : CONFLICT);
  }
  return image;
}

/**
 * Decides on the job that brings the bytes of an image without any. Its place in the quota is taken already; should the job fail, the image
 * waits for another. Fails like `checkIsWaiting`, with IMG.0060 (too many tasks), and for a registration as `parseImageUrl` does.
 */
export function decideUpload(
  state: { image: WaitingImage | undefined; createTaskQuota: QuotaState },
  { projectId, jobId, from, expectedStatus }: UploadCommand,
): { events: DomainEvent[]; input: ImageCreateInput } {
  const image = checkIsWaiting(state.image, { projectId, from: from.by, expectedStatus });
  const diskFormat = declaredFormat(image.diskFormat);
  const source = sourceOf(from, diskFormat, jobId);
  checkQuota(state.createTaskQuota, DEFAULT_QUOTA.create_task, 'IMG.0060');
  const osVersion = declaredSystem(image.attributes);
  return {
    events: [
      jobAccepted(jobId, {
        jobType: from.by === 'registration' ? 'imsNativeImportImageJob' : 'imsGoofysUploadImageJob',
        saga: 'image-create',
        imageId: image.id,
        imageName: image.name,
        request: requestOf(image.id, from),
        steps: [...STEPS_OF_SOURCE[source.kind]],
      }),
      {
        type: 'quota.reserved',
        stream: quotaStream(projectId, 'create_task'),
        key: `reserve:${jobId}`,
        data: { resource: 'create_task', amount: 1, holder: jobId },
      },
    ],
    input: {
      jobId,
      epoch: 1,
      projectId,
      imageId: image.id,
      imageName: image.name,
      source,
      minDiskGib: image.minDiskGib,
      ...(osVersion === undefined ? {} : { osVersion }),
      architecture: image.attributes['__support_arm'] === 'true' ? 'arm' : 'x86',
      kind: 'system',
      quickImport: false,
      existing: true,
      diskFormat,
    },
  };
}

function requestOf(id: ImageId, from: UploadedFrom): Record<string, unknown> {
  switch (from.by) {
    case 'upload':
      return { size: from.sizeBytes, ...from.digests };
    case 'web':
      return { method: 'web-download', uri: withoutSecrets(from.uri) };
    case 'registration':
      return { image_id: id, image_url: from.imageUrl };
    default:
      return from satisfies never;
  }
}

/** The query of an address often is what opens it; events are for everybody who may audit. */
function withoutSecrets(uri: string): string {
  const question = uri.indexOf('?');
  return question === -1 ? uri : `${uri.slice(0, question)}?***`;
}

function sourceOf(from: UploadedFrom, diskFormat: DiskFormat, jobId: JobId): ImageSource {
  switch (from.by) {
    case 'upload':
      return {
        kind: 'staged-file',
        stagedId: from.stagedId,
        ...(from.digests === undefined ? {} : { digests: from.digests }),
      };
    case 'web':
      return { kind: 'web-file', uri: from.uri, stagedId: fetchedFileId(jobId) };
    case 'registration': {
      const file = parseImageUrl(from.imageUrl);
      // An installation medium is kept as it is, by whichever way it comes (CRE-11); of every other file the disk is what counts (ims-api 6.6).
      return { kind: diskFormat === 'iso' ? 'iso-file' : 'bucket-file', file };
    }
    default:
      return from satisfies never;
  }
}

function declaredFormat(text: string): DiskFormat {
  const format = DISK_FORMATS.find((known) => known === text);
  if (format === undefined) throw new ImsError('IMG.0072', `${text} is not a format that can be imported`);
  return format;
}

/** The system that the maker named, if that says anything: the fallbacks stand for "unknown" (CRE-32). */
function declaredSystem(attributes: WaitingImage['attributes']): string | undefined {
  const name = attributes['__os_version'];
  if (typeof name !== 'string' || name.startsWith('Other')) return undefined;
  return findAnyOsVersion(name)?.name;
}
