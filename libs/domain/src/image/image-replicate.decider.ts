import {
  type ImageAttributes,
  type ImageId,
  IMAGE_REPLICATE_STEPS,
  type ImageReplicateInput,
  ImsError,
  type JobId,
  type MemberStatus,
  type ProjectId,
  type ReplicateImageRequest,
} from '@ims/contract';
import type { DomainEvent } from '../domain-event';
import { jobAccepted } from '../job/job-accepted';
import { gibOf } from '../server/image-use.rules';
import { checkEnterpriseProject } from './image-create.rules';
import { isEncrypted } from './image-key.rules';
import { checkCopiedShare } from './image-member.rules';
import { checkDescription, checkImageName } from './image-name';

const JOB_TYPE = 'imsCrossRegionCopyImageJob';

// REP-04, REP-05.
const LARGEST_GIB = 128;
const LARGEST_FROM_LARGE_REGIONS_GIB = 300;
const LARGE_REGIONS: ReadonlySet<string> = new Set(['cn-south-1', 'cn-east-3', 'cn-east-2', 'cn-north-4']);

/** Which copies may run at once. */
export interface ReplicationLimits {
  /** REP-06: of one tenant. */
  perTenant: number;
  /** REP-09: whether an image is copied to one region at a time. */
  isOnePerImage: boolean;
}
export const DEFAULT_REPLICATION_LIMITS: ReplicationLimits = { perTenant: 5, isOnePerImage: true };

/** What of an image matters to its copy in another region. */
export interface ReplicableImage {
  id: string;
  isActive: boolean;
  /** Why an image that it comes from, or it itself, makes nothing any more; `null`: none is revoked. */
  revokeReason: string | null;
  imageType: string;
  /** What the caller has answered, where somebody else shares the image; `null` of any other image. */
  memberStatus: MemberStatus | null;
  attributes: ImageAttributes;
  /** Of all its disks. */
  virtualSizeBytes: number;
  /** The backup behind an image of a whole server; `null` for every other one. */
  backup: { line: 'CBR' | 'CSBS'; isComplete: boolean } | null;
}

/** A named trust of the account: with it this service may act in these regions; `*` is all of them. */
export interface Agency {
  name: string;
  regions: readonly string[];
}

export interface ReplicateImageState {
  /** The image that the caller named, if the caller may use it. */
  image: ReplicableImage | undefined;
  /** Regions that this one can send to. */
  regions: readonly string[];
  agencies: readonly Agency[];
  /** Copies to other regions that have not ended. */
  running: { ofTenant: number; ofImage: number };
  limits?: ReplicationLimits;
}

export interface ReplicateImageCommand {
  projectId: ProjectId;
  jobId: JobId;
  /** Id of the new image, in the target region. */
  replicaId: ImageId;
  /** Where the image is. */
  region: string;
  accountName: string;
  request: ReplicateImageRequest;
}

/**
 * Decides on copying an image to another region (ims-api 7.2): the events of an accepted job and the input of its saga, or an `ImsError`. What only the
 * target region can know, its projects, quotas and vaults, it decides itself when it is asked.
 *
 * @throws ImsError IMG.0144 (404) no such image · 0142 the same region (REP-12) · 0147 an unknown one · 0179 no such agency, 0151 one that does not reach
 *   the target (REP-03) · 0046 not active (REP-07), or of a revoked line · 0167 an ISO image · 0196 shared with the caller and not accepted, 0197 shared and encrypted (SHR-10) · 0143 encrypted (REP-10) · 0157 of another type than private or shared · 0146 too
 *   large (REP-04, REP-05) · 0189, 0190, 0152 of whole servers (REP-11) · 0149 too many at once (REP-06, REP-09)
 */
export function decideReplicateImage(
  state: ReplicateImageState,
  command: ReplicateImageCommand,
): { events: DomainEvent[]; input: ImageReplicateInput } {
  const { jobId, projectId, replicaId, region, accountName, request } = command;
  const { image } = state;
  if (image === undefined) throw new ImsError('IMG.0144', undefined, 404);
  const name = checkImageName(request.name);
  const description = checkDescription(request.description ?? '');
  const enterpriseProjectId = checkEnterpriseProject(request.enterprise_project_id);
  if (request.region === region) throw new ImsError('IMG.0142', `the image is in ${region}`);
  if (!state.regions.includes(request.region))
    throw new ImsError('IMG.0147', `images cannot be sent to ${JSON.stringify(request.region)} from here`);
  checkAgency(state.agencies, request);
  checkImage(image, region, request);
  checkRunning(state);
  const { project_name: projectName, agency_name: agencyName, vault_id: vaultId } = request;
  return {
    events: [
      jobAccepted(jobId, {
        jobType: JOB_TYPE,
        saga: 'image-replicate',
        imageId: replicaId,
        imageName: name,
        request: { ...request, source_image_id: image.id },
        steps: [...IMAGE_REPLICATE_STEPS],
      }),
    ],
    input: {
      jobId,
      epoch: 1,
      projectId,
      sourceImageId: image.id,
      replica: { imageId: replicaId, name, description, enterpriseProjectId },
      target: {
        region: request.region,
        accountName,
        agencyName,
        ...(projectName === undefined || projectName === '' ? {} : { projectName }),
        // Only a backup goes into a vault, and is charged as one (BIL-11).
        ...(vaultId === undefined || vaultId === '' || !isWhole(image) ? {} : { vaultId }),
      },
    },
  };
}

/** Whether the agency lets this service act in the region. */
export const reaches = ({ regions }: Agency, region: string): boolean =>
  regions.includes('*') || regions.includes(region);

function checkAgency(agencies: readonly Agency[], request: ReplicateImageRequest): void {
  const agency = agencies.find(({ name }) => name === request.agency_name);
  if (agency === undefined) throw new ImsError('IMG.0179', `there is no agency ${JSON.stringify(request.agency_name)}`);
  if (!reaches(agency, request.region))
    throw new ImsError('IMG.0151', `agency ${agency.name} is not for ${request.region}`);
}

function checkImage(image: ReplicableImage, region: string, request: ReplicateImageRequest): void {
  const { attributes, backup } = image;
  checkCopiedShare({ ...image, isEncrypted: isEncrypted(attributes) });
  if (!image.isActive) throw new ImsError('IMG.0046', `image ${image.id} is not active`);
  // What is revoked here cannot be told of in a region that has a copy.
  if (image.revokeReason !== null) throw new ImsError('IMG.0046', `it was revoked: ${image.revokeReason}`);
  if (attributes['virtual_env_type'] === 'IsoImage') throw new ImsError('IMG.0167', 'ISO images stay in their region');
  if (isEncrypted(attributes)) throw new ImsError('IMG.0143');
  if (image.imageType !== 'private' && image.imageType !== 'shared')
    throw new ImsError('IMG.0157', 'only private images are copied to other regions');
  const limit = LARGE_REGIONS.has(region) ? LARGEST_FROM_LARGE_REGIONS_GIB : LARGEST_GIB;
  if (gibOf(image.virtualSizeBytes) > limit) throw new ImsError('IMG.0146', `from ${region} at most ${limit} GB`);
  if (!isWhole(image)) return;
  if (backup?.line === 'CSBS') throw new ImsError('IMG.0190', 'the image is made from a CSBS backup');
  if (request.vault_id === undefined || request.vault_id === '')
    throw new ImsError('IMG.0189', 'vault_id is needed for an image of a whole server');
  if (backup?.isComplete !== true) throw new ImsError('IMG.0152', 'its backup is not complete');
}

const isWhole = ({ attributes }: ReplicableImage): boolean => attributes['__whole_image'] === 'true';

function checkRunning({ running, limits = DEFAULT_REPLICATION_LIMITS }: ReplicateImageState): void {
  if (limits.isOnePerImage && running.ofImage > 0)
    throw new ImsError('IMG.0149', 'the image is being copied to another region already');
  if (running.ofTenant >= limits.perTenant) throw new ImsError('IMG.0149', `${limits.perTenant} run already`);
}
