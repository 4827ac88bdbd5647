import {
  type CreateVolumeRequest,
  ImsError,
  type JobId,
  type PlannedOrigin,
  type PlannedVolume,
  type ProjectId,
  type VolumeCreateInput,
  volumeCreateSteps,
} from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { jobAccepted } from '../job/job-accepted';
import { DEFAULT_VOLUME_TYPE, DEFAULT_ZONE, DISK_LIMITS_GIB, VOLUME_TYPES } from './disk-limits';
import { checkUsable, deriveOf, gibOf, type UsableImage, usedImagesOf } from './image-use.rules';

/** What a disk is made from, other than an image. */
export interface DiskSource {
  sizeGib: number;
  bootable: boolean;
}

export interface CreateVolumesState {
  image: UsableImage | undefined;
  /** The snapshot that the request names; `undefined` where the project has none of that id. */
  source: DiskSource | undefined;
}

export interface CreateVolumesCommand {
  projectId: ProjectId;
  jobId: JobId;
  request: CreateVolumeRequest;
  idOf(name: string): string;
}

// backends E5.
const MAX_COUNT = 100;
const MAX_NAME = 255;
// Of several disks each gets a hyphen and so many digits behind its name.
const NUMBER_DIGITS = 4;
const ENCRYPTED = '__system__encrypted';

const refuse = (detail: string): ImsError => new ImsError('EVS.1009', detail);

/**
 * Decides on making disks (CRE-07, IMG-10; backends E5), from an image, a snapshot or nothing.
 *
 * @throws ImsError EVS.1009, EVS.1010 with the rule that is broken
 */
export function decideCreateVolumes(
  state: CreateVolumesState,
  { projectId, jobId, request, idOf }: CreateVolumesCommand,
): { events: DomainEvent[]; input: VolumeCreateInput } {
  const wanted = request.volume;
  const count = wanted.count ?? 1;
  if (count < 1 || count > MAX_COUNT) throw refuse(`count must be 1 to ${MAX_COUNT}`);
  const volumeType = wanted.volume_type ?? DEFAULT_VOLUME_TYPE;
  if (!VOLUME_TYPES.includes(volumeType)) throw refuse(`disk type ${volumeType} is none of ${VOLUME_TYPES.join(', ')}`);
  if (wanted.metadata?.[ENCRYPTED] === '1') throw refuse('encrypted disks are not made here yet');
  const { origin, use, leastGib } = decideOrigin(state, wanted, count);
  const { least, most } = DISK_LIMITS_GIB[use];
  const smallest = Math.max(least, leastGib);
  const sizeGib = wanted.size ?? (origin.from === 'blank' ? undefined : smallest);
  if (sizeGib === undefined || sizeGib < smallest || sizeGib > most)
    throw new ImsError('EVS.1010', `size must be ${smallest} to ${most} GB`);
  const name = wanted.name ?? '';
  const longest = count === 1 ? MAX_NAME : MAX_NAME - NUMBER_DIGITS - 1;
  if (name.length > longest) throw refuse(`a name has ${longest} characters at most`);
  const derive = deriveOf(origin.from === 'image' && state.image !== undefined ? [state.image] : []);
  const volumes = Array.from({ length: count }, (_, index): PlannedVolume => ({
    id: idOf(`volume:${index}`),
    name: count === 1 ? name : `${name}-${String(index + 1).padStart(NUMBER_DIGITS, '0')}`,
    sizeGib,
    volumeType,
    use,
    origin,
    shareable: wanted.multiattach === true,
  }));
  return {
    events: [
      jobAccepted(jobId, {
        jobType: 'createVolume',
        saga: 'volume-create',
        imageId: null,
        imageName: name,
        request,
        steps: volumeCreateSteps(derive),
      }),
    ],
    input: {
      jobId,
      epoch: 1,
      projectId,
      name,
      availabilityZone: wanted.availability_zone ?? DEFAULT_ZONE,
      images: usedImagesOf([origin]),
      ...derive,
      volumes,
    },
  };
}

function decideOrigin(
  state: CreateVolumesState,
  wanted: CreateVolumeRequest['volume'],
  count: number,
): { origin: PlannedOrigin; use: 'system' | 'data'; leastGib: number } {
  const { imageRef, snapshot_id: snapshotId, backup_id: backupId } = wanted;
  if ([imageRef, snapshotId, backupId].filter((source) => source != null).length > 1)
    throw refuse('give one of imageRef, snapshot_id and backup_id');
  if (imageRef != null) {
    const image = checkUsable(state.image, imageRef, 'EVS.1009');
    const isData = image.virtualEnvType === 'DataImage';
    if (isData && count > 1) throw refuse('a data disk image makes only one disk at a time');
    // backends E5.
    if (image.virtualEnvType === 'Ironic') throw refuse('a BMS image cannot become a disk by this call');
    if (image.virtualEnvType === 'IsoImage') throw refuse('an ISO image is an installation medium, not a disk');
    if (image.dataDisks.length > 0) throw refuse('an image of a whole server makes servers, not disks');
    const use = isData ? 'data' : 'system';
    return {
      origin: { from: 'image', imageId: image.id, part: image.disk.part, role: use },
      use,
      leastGib: Math.max(image.minDiskGib, gibOf(image.disk.virtualSizeBytes)),
    };
  }
  if (backupId != null) throw refuse('disks from backups are not made by this call here');
  if (snapshotId == null) return { origin: { from: 'blank' }, use: 'data', leastGib: 0 };
  if (state.source === undefined) throw refuse('there is no such snapshot in this project');
  return {
    origin: { from: 'snapshot', snapshotId },
    use: state.source.bootable ? 'system' : 'data',
    leastGib: state.source.sizeGib,
  };
}
