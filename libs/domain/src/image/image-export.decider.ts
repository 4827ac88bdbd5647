import {
  type ExportImageRequest,
  type ImageExportInput,
  imageExportSteps,
  ImsError,
  type JobId,
  type ProjectId,
} from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { jobAccepted } from '../job/job-accepted';
import {
  checkExportable,
  DEFAULT_EXPORT_SETTINGS,
  type ExportableImage,
  type ExportSettings,
  largestExportBytes,
  parseBucketUrl,
} from './image-export.rules';

export interface ExportImageCommand {
  projectId: ProjectId;
  jobId: JobId;
  request: ExportImageRequest;
  settings?: ExportSettings;
}

const NOT_FOUND = 404;

/**
 * Decides on the export of an image into a bucket (ims-api 6.7, EXP-01..EXP-10): the event and the input of its job. An image that is unknown, and
 * one of another tenant, are the same: IMG.0144 (404). Everything else as `parseBucketUrl` and `checkExportable` have it.
 */
export function decideExportImage(
  image: ExportableImage | undefined,
  { projectId, jobId, request, settings = DEFAULT_EXPORT_SETTINGS }: ExportImageCommand,
): { events: DomainEvent[]; input: ImageExportInput } {
  const target = parseBucketUrl(request.bucket_url);
  if (image === undefined) throw new ImsError('IMG.0144', undefined, NOT_FOUND);
  const isQuick = request.is_quick_export === true;
  checkExportable(image, isQuick, settings);
  const { id: imageId, name: imageName, disk } = image;
  const derive = disk?.isDerived === false ? { derive: [imageId] } : {};
  const input: ImageExportInput = {
    jobId,
    epoch: 1,
    projectId,
    imageId,
    imageName,
    target,
    format: isQuick ? 'zvhd2' : (request.file_format ?? 'zvhd2'),
    maxDiskBytes: largestExportBytes(isQuick, settings),
    images: [{ imageId, parts: disk === undefined ? [] : [disk.part] }],
    ...derive,
  };
  return {
    events: [
      jobAccepted(jobId, {
        jobType: 'imsNativeExportImageJob',
        saga: 'image-export',
        imageId,
        imageName,
        request,
        steps: imageExportSteps(derive),
      }),
    ],
    input,
  };
}
