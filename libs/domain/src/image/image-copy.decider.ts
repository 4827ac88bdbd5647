import {
  type CopyImageRequest,
  type ImageAttributes,
  type ImageCopyInput,
  imageCopySteps,
  type ImageId,
  type ImageLineage,
  imageStream,
  ImsError,
  type JobId,
  type MemberStatus,
  type ProjectId,
  quotaStream,
} from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { jobAccepted } from '../job/job-accepted';
import { checkQuota, DEFAULT_QUOTA, type QuotaState } from '../quota/quota.rules';
import { gibOf, type UsableImage } from '../server/image-use.rules';
import { checkEnterpriseProject } from './image-create.rules';
import { decideKey, encryptedBy, isEncrypted, keyOf } from './image-key.rules';
import { checkCopiedShare } from './image-member.rules';
import { checkDescription, checkImageName } from './image-name';

const JOB_TYPE = 'imsCopyImageInRegionJob';
// REP-04.
const LARGEST_GIB = 128;
// Of the bytes of the source, not of the copy's: digests that its maker declared, and the backup that is its alone.
const NOT_INHERITED = /^(owner_specified\.openstack\.(md5|sha256)|__backup_id|__system__(encrypted|cmkid))$/;

/** What of an image matters to its copy. */
export interface CopyableImage extends Pick<UsableImage, 'id' | 'isActive' | 'minDiskGib' | 'minRamMib' | 'disk'> {
  attributes: ImageAttributes;
  lineage: ImageLineage;
  /** What the caller has answered, where somebody else shares the image; `null` of any other image. */
  memberStatus: MemberStatus | null;
}

export interface CopyImageState {
  /** The image that the caller named, if the caller may use it. */
  image: CopyableImage | undefined;
  imageQuota: QuotaState;
}

export interface CopyImageCommand {
  projectId: ProjectId;
  jobId: JobId;
  /** Id of the copy. */
  imageId: ImageId;
  region: string;
  request: CopyImageRequest;
}

/**
 * Decides on copying an image in its region (ims-api 7.1): the events of an accepted job and the input of its saga. Whether the keys may be used is for
 * the caller to find out.
 *
 * @throws ImsError IMG.0144 (404) no such image · 0046 not active (REP-07) · 0130 an image of a whole server, 0167 an ISO image (REP-08) · 0118 a BMS
 *   image under a key · 0196 shared with the caller and not accepted, 0197 shared and encrypted (SHR-10) · 0096 under the key it has (REP-01) · 0059 larger than 128 GB (REP-04) · 0015 quota
 */
export function decideCopyImage(
  state: CopyImageState,
  command: CopyImageCommand,
): { events: DomainEvent[]; input: ImageCopyInput } {
  const { projectId, jobId, imageId, region, request } = command;
  const { image } = state;
  if (image === undefined) throw new ImsError('IMG.0144', undefined, 404);
  const name = checkImageName(request.name);
  const description = checkDescription(request.description ?? '');
  const enterpriseProjectId = checkEnterpriseProject(request.enterprise_project_id);
  const { attributes } = image;
  checkCopiedShare({ ...image, isEncrypted: isEncrypted(attributes) });
  if (!image.isActive) throw new ImsError('IMG.0046', `image ${image.id} is not active`);
  if (attributes['__whole_image'] === 'true') throw new ImsError('IMG.0130');
  const virtualEnvType = String(attributes['virtual_env_type']);
  if (virtualEnvType === 'IsoImage') throw new ImsError('IMG.0167', 'an ISO image is not copied');
  const { disk } = image;
  if (disk === undefined) throw new ImsError('IMG.0046', `image ${image.id} has no bytes`);
  const cmkId = decideKey(request.cmk_id, virtualEnvType);
  if (cmkId !== undefined && cmkId === keyOf(attributes)) throw new ImsError('IMG.0096');
  if (gibOf(disk.virtualSizeBytes) > LARGEST_GIB)
    throw new ImsError('IMG.0059', `at most ${LARGEST_GIB} GB are copied`);
  checkQuota(state.imageQuota, DEFAULT_QUOTA.image, 'IMG.0015');

  const input: ImageCopyInput = {
    jobId,
    epoch: 1,
    projectId,
    sourceImageId: image.id,
    part: disk.part,
    ...(disk.isDerived ? {} : { derive: [image.id] }),
    imageId,
    imageName: name,
    kind: virtualEnvType === 'DataImage' ? 'data' : 'system',
    ...(cmkId === undefined ? {} : { cmkId }),
  };
  const inherited = Object.entries(attributes).filter(([attribute]) => !NOT_INHERITED.test(attribute));
  return {
    input,
    events: [
      jobAccepted(jobId, {
        jobType: JOB_TYPE,
        saga: 'image-copy',
        imageId,
        imageName: name,
        request: { ...request, source_image_id: image.id },
        steps: imageCopySteps(input),
      }),
      {
        type: 'image.queued',
        stream: imageStream(imageId),
        key: 'queued',
        data: {
          name,
          diskFormat: 'zvhd2',
          minDiskGib: image.minDiskGib,
          minRamMib: image.minRamMib,
          tags: [],
          attributes: {
            ...Object.fromEntries(inherited),
            enterprise_project_id: enterpriseProjectId,
            __description: description,
            __data_origin: `image,${region},${image.id}`,
            __originalimagename: image.id,
            // REP-02: whatever the source was, its copy is read frame by frame.
            __lazyloading: 'true',
            ...encryptedBy(cmkId),
          },
          lineage: image.lineage,
        },
      },
      {
        type: 'quota.reserved',
        stream: quotaStream(projectId, 'image'),
        key: `reserve:${imageId}`,
        data: { resource: 'image', amount: 1, holder: imageId },
      },
    ],
  };
}
