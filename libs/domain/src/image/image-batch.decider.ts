import {
  type ImageLineage,
  type CreateImageRequest,
  IMAGE_BATCH_STEPS,
  type ImageBatchInput,
  type ImageCreateInput,
  type ImageId,
  ImsError,
  type JobId,
  type ProjectId,
} from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { jobAccepted } from '../job/job-accepted';
import type { QuotaState } from '../quota/quota.rules';
import {
  type CreateImageCommand,
  type CreateImageState,
  decideCreateImage,
  type SourceVolume,
} from './image-create.decider';
import { checkArchitecture, checkOsVersion, type CreateDoor, scenarioOf } from './image-create.rules';
import { checkImageName } from './image-name';

// ims-api 6.2 C.
const MAX_DATA_FILES = 3;
// As long as a description: it is read by people.
const MAX_TITLE = 1024;
// ims-api 2.1.
const MAX_NAME = 128;

export interface CreateBatchCommand {
  projectId: ProjectId;
  jobId: JobId;
  /** Fresh ids of the images and their jobs, as many as `batchSizeOf` says. Job ids ascend: sub-jobs are shown in the order of their ids. */
  parts: readonly { jobId: JobId; imageId: ImageId }[];
  request: CreateImageRequest;
  /** The disks that `data_images` names; the caller has checked that they may be imaged together. */
  volumes?: readonly SourceVolume[];
  /** What images of disks inherit, by the image that the disk was made from. */
  lineages?: ReadonlyMap<string, ImageLineage>;
  maxTags?: number;
}

export interface CreateBatchDecision {
  events: DomainEvent[];
  /** Input of the saga that waits for the images. */
  batch: ImageBatchInput;
  /** Inputs of the sagas that make them, in the order of the request. */
  images: ImageCreateInput[];
}

/**
 * How many images a call makes when each is made by a job of its own, under one job for all: disks of a server (ims-api 6.2 B), or a system
 * disk with data disks, all from files (6.2 C). `undefined` for a call that makes one image by one job.
 *
 * @throws ImsError like `scenarioOf`; IMG.0120 when `data_images` alone is there and empty
 */
export function batchSizeOf(request: CreateImageRequest): number | undefined {
  const disks = request.data_images?.length ?? 0;
  switch (scenarioOf(request)) {
    case 'server-volumes':
      if (disks === 0) throw new ImsError('IMG.0120', 'data_images names no disk');
      return disks;
    case 'file':
    case 'iso':
      return disks === 0 ? undefined : disks + 1;
    case 'server':
    case 'volume':
      return undefined;
  }
}

/** Ids of the disks that `data_images` names (ims-api 6.2 B); fails with IMG.0120 where one is missing or named twice, IMG.0001 for a file among them. */
export function dataDiskIdsOf({ data_images: elements = [] }: CreateImageRequest): string[] {
  const ids = elements.map(({ volume_id: id, image_url: url }) => {
    if (url !== undefined) throw new ImsError('IMG.0001', 'data_images names disks or files, not both');
    if (id === undefined || id === '') throw new ImsError('IMG.0120', 'data_images.volume_id is missing');
    return id;
  });
  if (new Set(ids).size < ids.length) throw new ImsError('IMG.0120', 'data_images names a disk twice');
  return ids;
}

/**
 * Decides on a call for several images: one job for all, and for each image a job as `decideCreateImage` decides it, with its own quota. All of
 * them are accepted or none.
 *
 * @example const { events, batch, images } = decideCreateBatch(state, { projectId, jobId, parts, request, volumes });
 */
export function decideCreateBatch(state: CreateImageState, command: CreateBatchCommand): CreateBatchDecision {
  const { projectId, jobId, parts, request, volumes = [], lineages, maxTags } = command;
  const elements = elementsOf(request);
  if (elements.length !== parts.length) throw new RangeError(`${parts.length} ids for ${elements.length} images`);
  const set = parts.map((part, n) => ({ jobId: part.jobId, volumeId: elements[n]?.request.volume_id ?? '' }));
  const images: ImageCreateInput[] = [];
  const made: DomainEvent[] = [];
  for (const [n, part] of parts.entries()) {
    const element = elements[n];
    const volume = volumes.find(({ id }) => id === element?.request.volume_id);
    const lineage = volume?.imageId == null ? undefined : lineages?.get(volume.imageId);
    const one: CreateImageCommand = {
      projectId,
      ...part,
      ...(element ?? { request }),
      parentJobId: jobId,
      set,
      ...(volume === undefined ? {} : { volume }),
      ...(lineage === undefined ? {} : { lineage }),
      ...(element?.door === 'data-file-element' && parts[0] !== undefined ? { systemJobId: parts[0].jobId } : {}),
      ...(maxTags === undefined ? {} : { maxTags }),
    };
    const { events, input } = decideCreateImage(afterReserving(state, n), one);
    made.push(...events);
    images.push(input);
  }
  const title = images
    .map(({ imageName }) => imageName)
    .join(', ')
    .slice(0, MAX_TITLE);
  const accepted = jobAccepted(jobId, {
    jobType: scenarioOf(request) === 'server-volumes' ? 'imsVolumesToSysDataImagesJob' : 'imsImportImageJob',
    saga: 'image-batch',
    imageId: null,
    imageName: title,
    // What is said of each image is recorded with its own job, so that this event stays short.
    request: { ...request, data_images: (request.data_images ?? []).map(nameOfElement) },
    steps: [...IMAGE_BATCH_STEPS],
  });
  const subJobIds = parts.map((part) => part.jobId);
  return { events: [accepted, ...made], batch: { jobId, epoch: 1, projectId, title, subJobIds }, images };
}

interface Element {
  door: CreateDoor;
  request: CreateImageRequest;
}
type DataImage = NonNullable<CreateImageRequest['data_images']>[number];

const nameOfElement = ({ volume_id, image_url }: DataImage) => ({ volume_id, image_url });

function elementsOf(request: CreateImageRequest): Element[] {
  const { data_images: elements = [], ...system } = request;
  if (scenarioOf(request) === 'server-volumes') {
    dataDiskIdsOf(request);
    return elements.map((element) => ({ door: 'data-disk-element', request: dataDisk(request, element) }));
  }
  if (elements.length > MAX_DATA_FILES)
    throw new ImsError('IMG.0001', `${MAX_DATA_FILES} data disks at most come with a system disk`);
  const files = elements.map((element, n): Element => {
    if (element.volume_id !== undefined) throw new ImsError('IMG.0001', 'data_images beside image_url are files');
    if (element.image_url === undefined) throw new ImsError('IMG.0017', 'data_images.image_url is missing');
    return { door: 'data-file-element', request: dataFile(request, element, n + 1) };
  });
  const urls = [request.image_url, ...elements.map(({ image_url: url }) => url)];
  if (new Set(urls).size < urls.length) throw new ImsError('IMG.0123');
  return [{ door: 'images', request: system }, ...files];
}

/** What the element says wins over what the call says for all (ims-api 6.2 B). */
function dataDisk(request: CreateImageRequest, element: DataImage): CreateImageRequest {
  const { name, description, volume_id, tags, image_tags } = element;
  const isTagged = tags !== undefined || image_tags !== undefined;
  return {
    name,
    description,
    volume_id,
    ...(isTagged ? { tags, image_tags } : { tags: request.tags, image_tags: request.image_tags }),
    enterprise_project_id: request.enterprise_project_id,
    os_type: request.os_type,
    cmk_id: request.cmk_id,
  };
}

/** A data disk belongs to the system disk it comes with: the same enterprise project, the same kind of system (ims-api 6.2 C). */
function dataFile(request: CreateImageRequest, element: DataImage, number: number): CreateImageRequest {
  const { name, description, image_url, min_disk, is_quick_import, tags, image_tags } = element;
  const suffix = `-data-${number}`;
  const osVersion = checkOsVersion(request.os_version, checkArchitecture(request.architecture));
  return {
    name: name ?? checkImageName(request.name).slice(0, MAX_NAME - suffix.length) + suffix,
    description,
    image_url,
    min_disk,
    is_quick_import,
    tags,
    image_tags,
    enterprise_project_id: request.enterprise_project_id,
    os_type: osVersion?.osType ?? request.os_type,
    // One key for all images of the call.
    cmk_id: request.cmk_id,
  };
}

/** The quotas as the next image of the same call finds them. */
function afterReserving(state: CreateImageState, amount: number): CreateImageState {
  const more = (quota: QuotaState): QuotaState => ({ ...quota, reserved: quota.reserved + amount });
  return { ...state, imageQuota: more(state.imageQuota), createTaskQuota: more(state.createTaskQuota) };
}
