import {
  type ImageAttributes,
  IMAGE_RECEIVE_STEPS,
  type ImageReceiveInput,
  imageId as toImageId,
  imageStream,
  ImsError,
  type JobId,
  type ProjectId,
  quotaStream,
  type ReceiveOffer,
  WHOLE_IMAGE_RECEIVE_STEPS,
} from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { jobAccepted } from '../job/job-accepted';
import { checkQuota, DEFAULT_QUOTA, type QuotaState } from '../quota/quota.rules';
import { type Agency, reaches } from './image-replicate.decider';

// The contract has a name for the job of the sending region alone (ims-api 10.4); ours is made like the others.
const JOB_TYPE = 'imsReceiveImageJob';

/** What belongs to the region that an image was in, and says nothing here. */
const OF_ITS_REGION =
  /^(?:__backup_id|__data_origin|__originalimagename|__image_location|__account_code|__lazyloading)$/;

export interface ReceiveImageState {
  imageQuota: QuotaState;
  /** A vault of the project by the offer's id. */
  vault: { protectType: string; status: string; freeBytes: number } | undefined;
  /** The region has a replica of this very backup. */
  hasReplicaOfBackup: boolean;
}

export interface ReceiveImageCommand {
  projectId: ProjectId;
  jobId: JobId;
  /** The region that offers the image. */
  from: string;
  offer: ReceiveOffer;
}

/** Of the projects that the account has here, the one that is meant: IMG.0145 where it is none, IMG.0104 where one must be named (ims-api 7.2). */
export function targetProjectOf(
  projects: readonly { id: string; name: string }[],
  wanted: string | undefined,
  region: string,
): string {
  const named = projects.find(({ name }) => name === (wanted ?? region));
  if (named !== undefined) return named.id;
  const [only, ...others] = projects;
  if (wanted !== undefined || only === undefined)
    throw new ImsError('IMG.0145', `the account has no project ${JSON.stringify(wanted ?? region)} in ${region}`);
  if (others.length > 0) throw new ImsError('IMG.0104', `in ${region} the account has ${projects.length} projects`);
  return only.id;
}

/** Whether the agency is known on this side too and lets this service act here. @throws ImsError IMG.0151 */
export function checkAgencyHere(agencies: readonly Agency[], name: string, region: string): void {
  const agency = agencies.find((each) => each.name === name);
  if (agency === undefined || !reaches(agency, region))
    throw new ImsError('IMG.0151', `agency ${JSON.stringify(name)} gives no rights in ${region}`);
}

/**
 * Decides on taking an image in that another region offers: the events of an accepted job and the input of its saga. The region that sends has checked
 * what it can know; here
 * count the quota of the project that gets it (CRE-23) and, for whole servers, its vault (REP-11).
 *
 * @throws ImsError IMG.0015 · 0189 the vault takes no replicas · 0188 it is not in use · 0182 it is full · 0150 the backup is here already
 */
export function decideReceiveImage(
  state: ReceiveImageState,
  command: ReceiveImageCommand,
): { events: DomainEvent[]; input: ImageReceiveInput } {
  const { projectId, jobId, from, offer } = command;
  const { image, backup, vaultId } = offer;
  if (backup !== undefined) checkVault(state, backup.sizeGib);
  checkQuota(state.imageQuota, DEFAULT_QUOTA.image, 'IMG.0015');
  const id = toImageId(image.imageId);
  const attributes: ImageAttributes = {
    ...Object.fromEntries(Object.entries(image.attributes).filter(([name]) => !OF_ITS_REGION.test(name))),
    __data_origin: `image,${from},${offer.sourceImageId}`,
    __originalimagename: offer.sourceImageId,
    ...(backup === undefined ? {} : { __backup_id: backup.backupId }),
  };
  return {
    events: [
      jobAccepted(jobId, {
        jobType: JOB_TYPE,
        saga: 'image-receive',
        imageId: id,
        imageName: image.name,
        request: { region: from, job_id: offer.jobId, image_id: offer.sourceImageId, agency_name: offer.agencyName },
        steps: [...(backup === undefined ? IMAGE_RECEIVE_STEPS : WHOLE_IMAGE_RECEIVE_STEPS)],
      }),
      {
        type: 'image.queued',
        stream: imageStream(id),
        key: 'queued',
        data: {
          name: image.name,
          diskFormat: image.diskFormat,
          minDiskGib: image.minDiskGib,
          minRamMib: image.minRamMib,
          tags: image.tags,
          attributes,
          // The parent is in another region; what the line passes on goes along (EXP-09, BIL-08).
          lineage: { parentImageId: null, ...offer.lineage },
        },
      },
      {
        type: 'quota.reserved',
        stream: quotaStream(projectId, 'image'),
        key: `reserve:${id}`,
        data: { resource: 'image', amount: 1, holder: id },
      },
    ],
    input: {
      jobId,
      epoch: 1,
      projectId,
      imageId: id,
      imageName: image.name,
      from: { region: from, jobId: offer.jobId, imageId: offer.sourceImageId },
      ancestors: offer.ancestors,
      disks: offer.disks,
      ...(offer.file === undefined ? {} : { file: offer.file }),
      ...(backup === undefined || vaultId === undefined ? {} : { backup: { ...backup, vaultId } }),
    },
  };
}

const GIB = 2 ** 30;

function checkVault({ vault, hasReplicaOfBackup }: ReceiveImageState, sizeGib: number): void {
  if (vault === undefined || vault.protectType !== 'replication')
    throw new ImsError('IMG.0189', 'vault_id must name a vault for replicas in the target region');
  if (vault.status !== 'available') throw new ImsError('IMG.0188', `the vault is ${vault.status}`);
  if (hasReplicaOfBackup) throw new ImsError('IMG.0150');
  if (vault.freeBytes < sizeGib * GIB) throw new ImsError('IMG.0182', 'the vault of the target region is too small');
}
