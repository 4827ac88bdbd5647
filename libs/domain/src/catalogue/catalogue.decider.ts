import {
  type CatalogueDocument,
  type CatalogueEntry,
  type CatalogueFacts,
  type CatalogueLoaded,
  type EventData,
  type ImageAttributes,
  type ImageCreateInput,
  type ImageId,
  type ImageSource,
  imageStream,
  ImsError,
  type JobId,
  fetchedFileId,
  PLATFORM_PROJECT,
  quotaStream,
  stepsOfImage,
} from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { jobAccepted } from '../job/job-accepted';
import { findOsVersion } from '../os/os-version';

/** A live public image that is an entry of the catalogue. */
export interface CataloguedImage {
  id: ImageId;
  status: 'queued' | 'uploading' | 'saving' | 'active' | 'deactivated';
  name: string;
  minDiskGib: number;
  minRamMib: number;
  attributes: Readonly<Record<string, string | number | boolean | null>>;
  catalogue: CatalogueFacts;
  isRetired: boolean;
}

/** One entry's change, whose events are recorded together: as those of the job, where one brings the bytes. */
export interface CatalogueChange {
  report: CatalogueLoaded['entries'][number];
  events: DomainEvent[];
  /** Input of the saga that brings the bytes. */
  input?: ImageCreateInput;
}

/** Where ids come from; one of each is asked for an image that is new. */
export interface FreshIds {
  imageId(): ImageId;
  jobId(): JobId;
}

/**
 * Decides what a catalogue changes (IMG-04, IMG-05, IMG-17, ADV-04). An image is its entry's version and digest: another one is another image, and the
 * older is offered until the newer can be used. Whatever else an entry says is changed at the image it has. What the catalogue names no more is offered
 * no more, and goes on for the servers that were made from it; an image that never had bytes goes altogether. The same catalogue again changes nothing.
 *
 * @throws ImsError IMG.0056 for a system that no table knows and the entry does not describe
 */
export function decideCatalogue(
  document: CatalogueDocument,
  known: readonly CataloguedImage[],
  fresh: FreshIds,
): CatalogueChange[] {
  const byKey = Map.groupBy(known, ({ catalogue }) => catalogue.key);
  const wanted = document.images.flatMap((entry) => changesOf(entry, byKey.get(entry.key) ?? [], fresh));
  const keys = new Set(document.images.map(({ key }) => key));
  const dropped = known.filter(({ catalogue }) => !keys.has(catalogue.key)).flatMap((image) => goneFrom(image));
  return [...wanted, ...dropped];
}

/** The image is offered no more (IMG-04). It can be offered again, and retired again: each time is of another revision. */
export const retireImage = (
  image: { id: ImageId; revision: number },
  data: EventData<'image.retired'>,
): DomainEvent => ({
  type: 'image.retired',
  stream: imageStream(image.id),
  key: `retired:${image.revision}`,
  data,
});

function changesOf(entry: CatalogueEntry, known: readonly CataloguedImage[], fresh: FreshIds): CatalogueChange[] {
  const { key, version } = entry;
  const description = descriptionOf(entry);
  const same = known.find(
    ({ catalogue }) => catalogue.version === version && catalogue.sha256 === (entry.sha256 ?? null),
  );
  // What never had bytes is replaced by what has some, or by another version of nothing.
  const replaced = known
    .filter((image) => image !== same && image.catalogue.sha256 === null)
    .flatMap((image) => goneFrom(image));
  if (same === undefined) return [...replaced, queued(entry, description, fresh)];
  const report = { key, version, image_id: same.id };
  const revision = same.catalogue.revision + 1;
  const facts = { ...description.catalogue, revision };
  if (same.isRetired || !says(same, description))
    return [
      ...replaced,
      {
        report: { ...report, change: same.isRetired ? 'listed-again' : 'changed' },
        events: [
          {
            type: 'image.catalogued',
            stream: imageStream(same.id),
            key: `catalogued:${revision}`,
            data: { ...description, attributes: changedAttributes(same, description.attributes), catalogue: facts },
          },
        ],
      },
    ];
  return [...replaced, { report: { ...report, change: 'unchanged' }, events: [] }];
}

function goneFrom(image: CataloguedImage): CatalogueChange[] {
  const { id, catalogue } = image;
  const report = { key: catalogue.key, version: catalogue.version, image_id: id };
  if (catalogue.sha256 === null)
    return [
      {
        report: { ...report, change: 'withdrawn' },
        events: [
          {
            type: 'image.withdrawn',
            stream: imageStream(id),
            key: 'withdrawn',
            data: { reason: 'the catalogue names it no more, and it never had bytes' },
          },
          {
            type: 'quota.released',
            stream: quotaStream(PLATFORM_PROJECT, 'image'),
            key: `release:${id}`,
            data: { resource: 'image', amount: 1, holder: id, from: 'reserved' },
          },
        ],
      },
    ];
  if (image.isRetired) return [];
  return [
    {
      report: { ...report, change: 'retired' },
      events: [retireImage({ id, revision: catalogue.revision }, { reason: 'removed' })],
    },
  ];
}

/** What an entry says of its image. */
interface Description {
  name: string;
  minDiskGib: number;
  minRamMib: number;
  attributes: ImageAttributes;
  catalogue: CatalogueFacts;
}

function descriptionOf(entry: CatalogueEntry): Description {
  const { key, version, name, source } = entry;
  return {
    name,
    minDiskGib: entry.min_disk,
    minRamMib: entry.min_ram,
    attributes: attributesOf(entry),
    catalogue: {
      key,
      version,
      revision: 1,
      source: source === undefined ? null : 'url' in source ? source.url : `${source.bucket}:${source.object}`,
      sha256: entry.sha256 ?? null,
      vendor: entry.vendor,
      kernelVendor: entry.kernel_vendor ?? entry.vendor,
      licence: entry.licence,
      homepage: entry.homepage ?? null,
    },
  };
}

/** Attributes of a public image by wire name (ims-api 2.2, 2.4). */
function attributesOf(entry: CatalogueEntry): ImageAttributes {
  const listed = findOsVersion(entry.os_version, entry.architecture);
  const platform = entry.platform ?? listed?.platform;
  const osType = entry.os_type ?? listed?.osType;
  const osBit = entry.os_bit ?? listed?.osBit;
  if (platform === undefined || osType === undefined || osBit === undefined)
    throw new ImsError(
      'IMG.0056',
      `${entry.key}: no table knows ${entry.os_version}; say its platform, os_type and os_bit`,
    );
  const features = Object.entries(entry.features)
    .filter(([, has]) => has)
    .map(([feature]) => [feature, 'true'] as const);
  return {
    virtual_env_type: 'FusionCompute',
    enterprise_project_id: '0',
    hw_firmware_type: entry.firmware,
    __isregistered: 'true',
    __image_source_type: 'uds',
    __description: entry.description ?? '',
    __os_type: osType,
    __os_version: entry.os_version,
    __os_bit: osBit,
    __platform: platform,
    __support_kvm: 'true',
    ...(entry.architecture === 'arm' ? { __support_arm: 'true' } : {}),
    ...Object.fromEntries(entry.supports.map((name) => [name, 'true'])),
    ...(features.length === 0 ? {} : { __os_feature_list: JSON.stringify(Object.fromEntries(features)) }),
  };
}

// What an entry may take back by not saying it any more.
const isOptional = (name: string): boolean => name === '__os_feature_list' || name.startsWith('__support_');

/** As the event has them: a null takes an attribute away that the entry names no more. */
function changedAttributes(image: CataloguedImage, wanted: ImageAttributes): ImageAttributes {
  const dropped = Object.keys(image.attributes).filter((name) => isOptional(name) && !Object.hasOwn(wanted, name));
  return { ...Object.fromEntries(dropped.map((name) => [name, null])), ...wanted };
}

/** Whether the image is what its entry says. */
function says(image: CataloguedImage, { name, minDiskGib, minRamMib, attributes, catalogue }: Description): boolean {
  const changes = Object.entries(changedAttributes(image, attributes));
  return (
    image.name === name &&
    image.minDiskGib === minDiskGib &&
    image.minRamMib === minRamMib &&
    changes.every(([attribute, value]) => (image.attributes[attribute] ?? null) === value) &&
    FACTS.every((fact) => image.catalogue[fact] === catalogue[fact])
  );
}

const FACTS = ['source', 'vendor', 'kernelVendor', 'licence', 'homepage'] as const satisfies (keyof CatalogueFacts)[];

/** A new image: with a job that brings its bytes, or as metadata alone, which never claims to be more. */
function queued(entry: CatalogueEntry, description: Description, fresh: FreshIds): CatalogueChange {
  const imageId = fresh.imageId();
  const { key, version, source, sha256 } = entry;
  const report = { key, version, image_id: imageId, change: 'queued' as const };
  const events: DomainEvent[] = [
    {
      type: 'image.queued',
      stream: imageStream(imageId),
      key: 'queued',
      data: {
        ...description,
        diskFormat: entry.format,
        tags: [],
        // ims-api 2.2: public images are.
        protected: true,
        imageType: 'gold',
      },
    },
    {
      // The catalogue is as long as its operator wants: its images are counted, and limited by nothing (CRE-23 is of private ones).
      type: 'quota.reserved',
      stream: quotaStream(PLATFORM_PROJECT, 'image'),
      key: `reserve:${imageId}`,
      data: { resource: 'image', amount: 1, holder: imageId },
    },
  ];
  if (source === undefined || sha256 === undefined) return { report, events };
  const jobId = fresh.jobId();
  const from: ImageSource =
    'url' in source
      ? { kind: 'web-file', uri: source.url, stagedId: fetchedFileId(jobId) }
      : { kind: 'kept-file', file: { bucket: source.bucket, key: source.object } };
  return {
    report: { ...report, job_id: jobId },
    events: [
      jobAccepted(jobId, {
        jobType: 'imsImportImageJob',
        saga: 'image-create',
        imageId,
        imageName: entry.name,
        request: entry,
        steps: stepsOfImage({ source: from }),
      }),
      ...events,
      {
        type: 'quota.reserved',
        stream: quotaStream(PLATFORM_PROJECT, 'create_task'),
        key: `reserve:${jobId}`,
        data: { resource: 'create_task', amount: 1, holder: jobId },
      },
    ],
    input: {
      jobId,
      epoch: 1,
      projectId: PLATFORM_PROJECT,
      imageId,
      imageName: entry.name,
      source: from,
      minDiskGib: entry.min_disk,
      osVersion: entry.os_version,
      architecture: entry.architecture,
      kind: 'system',
      quickImport: false,
      existing: false,
      diskFormat: entry.format,
      sha256,
    },
  };
}
